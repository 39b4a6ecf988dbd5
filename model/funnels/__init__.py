"""How tasks depend on each other: one file for each architecture, and the dict of them."""

from model.funnels.base import Funnel
from model.funnels.esmm import ESMM
from model.funnels.independent import Independent

FUNNELS: dict[str, type[Funnel]] = {
    "independent": Independent,
    "esmm": ESMM,
}
