"""The front door: the library, and the `funnel` command, its configuration, reports, experiments.

    import funnel

    config = funnel.run("my.toml")
    scores = funnel.score(config, rows)

What goes in: a configuration. What comes out: the files of a run. It is the only package that
imports both the pipeline and the model. A name is imported when it is first used: `import funnel`
imports neither TensorFlow nor Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from funnel import keras_names
from funnel.version import __version__

if TYPE_CHECKING:
    from features.errors import FunnelError
    from features.spec import Spec
    from funnel.config.config import Config
    from funnel.dataset import Dataset
    from funnel.library import (
        evaluate,
        export,
        load_config,
        preprocess,
        report,
        run,
        simulate,
        train,
    )
    from funnel.scoring.score import score
    from model.estimator.estimator import RankingEstimator
    from model.estimator.exporters import BestExporter, FinalExporter, LatestExporter
    from model.estimator.ranking_config import RankingConfig
    from model.estimator.train_and_evaluate import EvalSpec, TrainSpec, train_and_evaluate
    from model.funnels.aitm import AITM
    from model.funnels.dbmtl import DBMTL
    from model.funnels.escm2 import ESCM2
    from model.funnels.esm2 import ESM2
    from model.funnels.esmm import ESMM
    from model.funnels.independent import Independent
    from model.layers import (
        MLP,
        CrossExperts,
        CrossStitch,
        Experts,
        FMExperts,
        Gate,
        LayerMixture,
        LSTMExperts,
        Orthogonal,
        Transfer,
    )
    from model.sharing.asymmetric import Asymmetric
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

_LAYERS = {  # Keras saves these classes as "funnel>" and their names
    "model.layers": [
        "CrossExperts",
        "CrossStitch",
        "Experts",
        "FMExperts",
        "Gate",
        "LSTMExperts",
        "LayerMixture",
        "MLP",
        "Orthogonal",
        "Transfer",
    ],
    "model.funnels.aitm": ["AITM"],
    "model.funnels.dbmtl": ["DBMTL"],
    "model.funnels.escm2": ["ESCM2"],
    "model.funnels.esm2": ["ESM2"],
    "model.funnels.esmm": ["ESMM"],
    "model.funnels.independent": ["Independent"],
    "model.sharing.asymmetric": ["Asymmetric"],
    "model.sharing.cgc": ["CGC"],
    "model.sharing.cross_stitch": ["CrossStitchNetwork"],
    "model.sharing.customized": ["Customized"],
    "model.sharing.ml_mmoe": ["MLMMoE"],
    "model.sharing.mmoe": ["MMoE"],
    "model.sharing.moe": ["MoE"],
    "model.sharing.mose": ["MoSE"],
    "model.sharing.ple": ["PLE"],
    "model.sharing.shared_bottom": ["SharedBottom"],
    "model.sharing.single_task": ["SingleTask"],
    "model.sharing.sluice": ["Sluice"],
}
_EXPORTS = _LAYERS | {
    "features.errors": ["FunnelError"],
    "features.spec": ["Spec"],
    "funnel.config.config": ["Config"],
    "funnel.dataset": ["Dataset"],
    "funnel.library": [
        "evaluate",
        "export",
        "load_config",
        "preprocess",
        "report",
        "run",
        "simulate",
        "train",
    ],
    "funnel.scoring.score": ["score"],
    "model.estimator.estimator": ["RankingEstimator"],
    "model.estimator.exporters": ["BestExporter", "FinalExporter", "LatestExporter"],
    "model.estimator.ranking_config": ["RankingConfig"],
    "model.estimator.train_and_evaluate": ["EvalSpec", "TrainSpec", "train_and_evaluate"],
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "AITM",
    "CGC",
    "DBMTL",
    "ESCM2",
    "ESM2",
    "ESMM",
    "MLP",
    "PLE",
    "Asymmetric",
    "BestExporter",
    "Config",
    "CrossExperts",
    "CrossStitch",
    "CrossStitchNetwork",
    "Customized",
    "Dataset",
    "EvalSpec",
    "Experts",
    "FMExperts",
    "FinalExporter",
    "FunnelError",
    "Gate",
    "Independent",
    "LSTMExperts",
    "LatestExporter",
    "LayerMixture",
    "MLMMoE",
    "MMoE",
    "MoE",
    "MoSE",
    "Orthogonal",
    "RankingConfig",
    "RankingEstimator",
    "SharedBottom",
    "SingleTask",
    "Sluice",
    "Spec",
    "TrainSpec",
    "Transfer",
    "__version__",
    "evaluate",
    "export",
    "load_config",
    "preprocess",
    "report",
    "run",
    "score",
    "simulate",
    "train",
    "train_and_evaluate",
]

keras_names.register(name for names in _LAYERS.values() for name in names)


if not TYPE_CHECKING:  # a type checker then knows which names there are

    def __getattr__(name: str) -> Any:
        """Imports an exported name when it is first used."""
        module = _MODULES.get(name)
        if module is None:
            from features.errors import nearest

            known = nearest(name, __all__)
            raise AttributeError(f"module 'funnel' has no attribute '{name}': {known}")
        try:
            if module.startswith("model."):
                from funnel.console import load_tensorflow

                load_tensorflow()
            found = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            missing = str(error.name).partition(".")[0]
            raise ImportError(
                f"funnel.{name} needs {missing}, which is not installed: pip install 'funnel[all]'",
                name=missing,
            ) from error
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
