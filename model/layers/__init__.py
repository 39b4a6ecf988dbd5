"""The blocks that every architecture is made of, each a Keras layer that also works alone."""

from model.layers.cross import CrossExperts
from model.layers.experts import Experts
from model.layers.fm import FMExperts
from model.layers.gate import Gate
from model.layers.lstm import LSTMExperts
from model.layers.mlp import MLP
from model.layers.network import Network

__all__ = ["MLP", "CrossExperts", "Experts", "FMExperts", "Gate", "LSTMExperts", "Network"]
