"""Something done around an import that comes later: once, in the import's place, whoever imports."""

import importlib
import importlib.util
import sys

import pytest

from kobert_tf2.import_hooks import around_import


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "late_package.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield "late_package"
    sys.modules.pop("late_package", None)


def test_it_happens_around_the_import_and_once(package):
    seen = []

    def around(load):
        seen.append("before")
        load()
        seen.append(sys.modules[package].VALUE)

    around_import(package, around)
    importlib.util.find_spec(package)
    assert seen == [], "to ask whether it is installed is no import"
    assert importlib.import_module(package).VALUE == 1
    importlib.reload(sys.modules[package])
    assert seen == ["before", 1]


def test_a_package_that_is_not_there_is_not_found_as_ever(package):
    around_import("no_such_package_at_all", lambda load: load())
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        importlib.import_module("no_such_package_at_all")


def test_an_error_of_the_import_is_the_importers(package):
    def around(load):
        raise ImportError("libfoo.so")

    around_import(package, around)
    with pytest.raises(ImportError, match=r"libfoo\.so"):
        importlib.import_module(package)
    assert package not in sys.modules


def test_two_may_wait_for_the_same_package(package):
    seen = []
    for name in ("first", "second"):
        around_import(package, lambda load, name=name: (seen.append(name), load()))
    importlib.import_module(package)
    assert sorted(seen) == ["first", "second"]
