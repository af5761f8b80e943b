"""Registers our classes when Keras is imported, so that a `.keras` file can be loaded after `import kobert_tf2`.

Keras looks up the classes of a file among the registered ones and does not import modules for them. This package loads
Keras only when needed, so the registration is deferred until Keras is imported.
"""

import importlib
import sys
from collections.abc import Callable

from kobert_tf2.import_hooks import around_import

_MODULES = ("kobert_tf2.bert.models", "kobert_tf2.training.optimizers")
_WITHOUT_KERAS = {"kobert_tf2.bert.config", "kobert_tf2.bert.checkpoint_files", "kobert_tf2.bert.other_models"}


def register_with_keras() -> None:
    """Registers our classes with Keras: now if it is loaded, otherwise when it is imported."""
    if "keras" in sys.modules:
        _register()
    else:
        around_import("keras", _load_and_register)


def _load_and_register(load: Callable[[], None]) -> None:
    load()
    _register()


def _register() -> None:
    """Imports the modules that register our classes, unless one of our modules triggered the import: it registers
    itself.
    """
    begun = {name for name in sys.modules if name.startswith("kobert_tf2.bert.")} - _WITHOUT_KERAS
    if not begun and sys.modules["keras"].config.backend() == "tensorflow":
        for module in _MODULES:
            importlib.import_module(module)
