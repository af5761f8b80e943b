"""Hooks around the future import of another package.

This package loads Keras and TensorFlow only when needed, and often the user's program imports them.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence


def around_import(name: str, around: Callable[[Callable[[], None]], None]) -> None:
    """Calls `around(load)` instead of `load()`, the import of the package `name`, if it is not imported yet."""
    sys.meta_path.insert(0, _Finder(name, around))


class _Finder(importlib.abc.MetaPathFinder):
    """Import finder that stays installed until the package is actually imported: some callers look for a spec only to
    see whether it is installed.
    """

    def __init__(self, name: str, around: Callable[[Callable[[], None]], None]):
        self._name, self._around, self._asks_the_others = name, around, False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name or self._asks_the_others:
            return None
        self._asks_the_others = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asks_the_others = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_within(module: types.ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._around(lambda: execute(module))

        spec.loader.exec_module = execute_within  # type: ignore[method-assign]
        return spec
