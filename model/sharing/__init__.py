"""How tasks share a representation: one file for each architecture, and the dict of them.

In: Inputs, the embedded features. Out: {head: representation}. Imports layers and embeddings, never
a funnel.
"""

from model.sharing.asymmetric import Asymmetric
from model.sharing.base import Sharing
from model.sharing.cgc import CGC
from model.sharing.cross_stitch import CrossStitchNetwork
from model.sharing.customized import Customized
from model.sharing.ml_mmoe import MLMMoE
from model.sharing.mmoe import MMoE
from model.sharing.moe import MoE
from model.sharing.mose import MoSE
from model.sharing.ple import PLE
from model.sharing.shared_bottom import SharedBottom
from model.sharing.single_task import SingleTask
from model.sharing.sluice import Sluice

SHARING: dict[str, type[Sharing]] = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "asymmetric": Asymmetric,
    "customized": Customized,
    "moe": MoE,
    "mmoe": MMoE,
    "ml_mmoe": MLMMoE,
    "cgc": CGC,
    "ple": PLE,
    "cross_stitch": CrossStitchNetwork,
    "sluice": Sluice,
    "mose": MoSE,
}
