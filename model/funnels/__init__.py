"""How tasks depend on each other: one file for each funnel, and the dict of them.

In: {head: representation}. Out: predictions of tasks and joints, and objectives. Imports layers and
objectives, never a sharing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.registry import Registry
from model.settings.funnels import FUNNEL_PARAMS

if TYPE_CHECKING:
    from model.funnels.base import Funnel

FUNNELS: Registry[Funnel] = Registry(
    {
        "independent": "model.funnels.independent:Independent",
        "esmm": "model.funnels.esmm:ESMM",
        "esm2": "model.funnels.esm2:ESM2",
        "dbmtl": "model.funnels.dbmtl:DBMTL",
        "aitm": "model.funnels.aitm:AITM",
        "escm2": "model.funnels.escm2:ESCM2",
    },
    FUNNEL_PARAMS,
)


def __getattr__(name: str) -> type[Funnel]:
    return FUNNELS.by_class_name(name)
