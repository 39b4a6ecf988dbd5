"""How tasks share a representation: one file for each architecture, and the dict of them.

In: Inputs, the embedded features. Out: {head: representation}. Imports layers and embeddings, never
a funnel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.registry import Registry
from model.settings.sharing import SHARING_PARAMS

if TYPE_CHECKING:
    from model.sharing.base import Sharing

SHARING: Registry[Sharing] = Registry(
    {
        "single_task": "model.sharing.single_task:SingleTask",
        "shared_bottom": "model.sharing.shared_bottom:SharedBottom",
        "asymmetric": "model.sharing.asymmetric:Asymmetric",
        "customized": "model.sharing.customized:Customized",
        "moe": "model.sharing.moe:MoE",
        "mmoe": "model.sharing.mmoe:MMoE",
        "ml_mmoe": "model.sharing.ml_mmoe:MLMMoE",
        "cgc": "model.sharing.cgc:CGC",
        "ple": "model.sharing.ple:PLE",
        "cross_stitch": "model.sharing.cross_stitch:CrossStitchNetwork",
        "sluice": "model.sharing.sluice:Sluice",
        "mose": "model.sharing.mose:MoSE",
    },
    SHARING_PARAMS,
)


def __getattr__(name: str) -> type[Sharing]:
    return SHARING.by_class_name(name)
