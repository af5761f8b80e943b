"""Our classes made known to Keras as soon as Keras is there, so that a `.keras` file loads after `import kobert_tf2`.

Keras looks a class of a file up among those that were registered and imports no module for it, whereas this package
loads Keras only when it is needed. So the registration waits for Keras' own import.
"""

import importlib
import sys
from collections.abc import Callable

from kobert_tf2.import_hooks import around_import

_MODULES = ("kobert_tf2.bert.models", "kobert_tf2.training.optimizers")
_WITHOUT_KERAS = {"kobert_tf2.bert.config", "kobert_tf2.bert.checkpoint_files", "kobert_tf2.bert.other_models"}


def register_with_keras() -> None:
    """Registers our classes with Keras, now if it is loaded or else when it will be."""
    if "keras" in sys.modules:
        _register()
    else:
        around_import("keras", _load_and_register)


def _load_and_register(load: Callable[[], None]) -> None:
    load()
    _register()


def _register() -> None:
    """Imports what registers our classes, unless a module of ours is what imports Keras: it registers itself."""
    begun = {name for name in sys.modules if name.startswith("kobert_tf2.bert.")} - _WITHOUT_KERAS
    if not begun and sys.modules["keras"].config.backend() == "tensorflow":
        for module in _MODULES:
            importlib.import_module(module)
