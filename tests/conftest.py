"""Shared fixtures: real data where it is there, and small things that several tests need."""

import os
import pathlib

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Nothing is timed in a test: on a busy machine an example may take seconds.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def _shared_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("KOBERT_SHARED", ROOT.parent / "shared"))


def pytest_collection_modifyitems(items):
    """A test marked `shared` says why it is skipped rather than fail where the real data is missing."""
    if (_shared_folder() / "data").is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason=f"no real data at {_shared_folder()} (set KOBERT_SHARED)"))


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real data; a test that asks for it is marked `shared`."""
    return _shared_folder()
