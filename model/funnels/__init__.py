"""How tasks depend on each other: one file for each funnel, and the dict of them.

In: {head: representation}. Out: predictions of tasks and joints, and objectives. Imports layers and
objectives, never a sharing.
"""

from model.funnels.aitm import AITM
from model.funnels.base import Funnel
from model.funnels.dbmtl import DBMTL
from model.funnels.escm2 import ESCM2
from model.funnels.esm2 import ESM2
from model.funnels.esmm import ESMM
from model.funnels.independent import Independent

FUNNELS: dict[str, type[Funnel]] = {
    "independent": Independent,
    "esmm": ESMM,
    "esm2": ESM2,
    "dbmtl": DBMTL,
    "aitm": AITM,
    "escm2": ESCM2,
}
