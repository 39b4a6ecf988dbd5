"""How tasks share a representation: one file for each architecture, and the dict of them."""

from model.sharing.base import Sharing
from model.sharing.mmoe import MMoE
from model.sharing.ple import PLE
from model.sharing.shared_bottom import SharedBottom
from model.sharing.single_task import SingleTask

SHARING: dict[str, type[Sharing]] = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "mmoe": MMoE,
    "ple": PLE,
}
