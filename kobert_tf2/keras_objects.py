"""Our classes made known to Keras as soon as Keras is there, so that a `.keras` file loads after `import kobert_tf2`.

Keras looks a class of a file up among those that were registered and imports no module for it, whereas this package
loads Keras only when it is needed. So the registration waits for Keras' own import.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence

_MODULES = ("kobert_tf2.bert.models", "kobert_tf2.training.optimizers")
_WITHOUT_KERAS = {"kobert_tf2.bert.config", "kobert_tf2.bert.checkpoint_files", "kobert_tf2.bert.other_models"}


class _WaitForKeras(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: types.ModuleType) -> None:
            run(module)
            _register()

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


def _register() -> None:
    """Imports what registers our classes, unless a module of ours is what imports Keras: it registers itself."""
    begun = {name for name in sys.modules if name.startswith("kobert_tf2.bert.")} - _WITHOUT_KERAS
    if not begun and sys.modules["keras"].config.backend() == "tensorflow":
        for module in _MODULES:
            importlib.import_module(module)


def register_with_keras() -> None:
    """Registers our classes with Keras, now if it is loaded or else when it will be."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WaitForKeras())
