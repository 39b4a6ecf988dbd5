"""The names under which Keras finds the layers of a saved model after `import funnel` alone.

Keras looks up "funnel>MMoE" among what is registered, and a layer registers itself when its module
is imported, which needs TensorFlow. So the names are registered first, for classes that import the
layer when Keras makes one: at once if Keras is there, else as soon as it has been imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def register(names: Iterable[str]) -> None:
    """Registers the layers that `funnel` exports under these names."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"], names)
    else:
        sys.meta_path.insert(0, _AfterKeras(names))


def _register(keras: ModuleType, names: Iterable[str]) -> None:
    known = keras.saving.get_custom_objects()
    for name in names:
        known.setdefault(f"funnel>{name}", _placeholder(name))


def _placeholder(name: str) -> type:
    """A class whose from_config makes the layer. The layer's own registration replaces it."""

    def from_config(cls: type, config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module("funnel"), name).from_config(config)

    return type(name, (), {"from_config": classmethod(from_config)})


class _AfterKeras:
    """Registers the names when `keras` has been imported, and then takes itself away."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras" or self._searching:
            return None
        self._searching = True  # the finders after this one
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(module, self.names)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
