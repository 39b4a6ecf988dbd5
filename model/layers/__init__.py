"""The blocks that every architecture is made of, each a Keras layer that also works alone.

In and out: tensors. Imports no other room of model/.
"""

from model.layers.cross import CrossExperts
from model.layers.cross_stitch import CrossStitch
from model.layers.experts import Experts
from model.layers.fm import FMExperts
from model.layers.gate import Gate
from model.layers.layer_mixture import LayerMixture
from model.layers.lstm import LSTMExperts
from model.layers.mlp import MLP
from model.layers.network import Network
from model.layers.orthogonal import Orthogonal
from model.layers.transfer import Transfer

__all__ = [
    "MLP",
    "CrossExperts",
    "CrossStitch",
    "Experts",
    "FMExperts",
    "Gate",
    "LSTMExperts",
    "LayerMixture",
    "Network",
    "Orthogonal",
    "Transfer",
]
