"""Checkpoints of a run on disk: complete, checksummed, and with everything needed to resume exactly.

    checkpoints/step-00001000/state.index, state.data-00000-of-00001    a tf.train.Checkpoint of flat dicts of variables
                              manifest.json                             step, SHA-256 of the files, caller's extras

A checkpoint folder is written under a temporary name and renamed when it is complete. `manifest.json` is written last:
on gs://, where a rename is not atomic, a folder without it is ignored. Variables are saved under stable names in flat
dicts, because an object-based checkpoint of a Keras 3 model silently omits layers held in lists and the state of seed
generators.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError

_VERSION = 1
_NAME = re.compile(r"step-(\d{8,})")
_UNFINISHED = re.compile(r"\.tmp-step-\d{8,}-\d+")
_FILES = re.compile(
    r"manifest\.json(\.tmp-\d+)?|checkpoint|state\.(index|data-\d{5}-of-\d{5})(\.tempstate\d+)?|state_temp/.+"
)


def named_variables(owner: Any) -> dict[str, tf.Variable]:
    """The variables of a Keras model or optimizer, keyed by paths that do not depend on how many models were created
    before.
    """
    prefix = f"{owner.name}/"
    named = {variable.path.removeprefix(prefix): variable.value for variable in owner.variables}
    if len(named) != len(owner.variables):
        raise ValueError(f"{owner.name}: expected each variable to have a path of its own, but some share one")
    return named


def steps_in(folder: str) -> list[int]:
    """The steps of all existing checkpoints, newest first, including corrupt ones."""
    if not files.exists(folder):
        return []
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(folder))
    return sorted((int(match[1]) for match in map(_NAME.fullmatch, names) if match), reverse=True)


def newest_settings(folder: str) -> dict:
    """The settings recorded in the newest checkpoint; {} if there is no checkpoint or it records none."""
    for step in steps_in(folder):
        with contextlib.suppress(InputError):
            extra = files.read_json(f"{folder}/step-{step:08d}/manifest.json", dict).get("extra")
            settings = extra.get("settings") if isinstance(extra, dict) else None
            return settings if isinstance(settings, dict) else {}
    return {}


class Checkpoints:
    """The checkpoints of one run in `folder`; the newest `keep` are kept."""

    def __init__(self, folder: str, *, model: Any, optimizer: Any = None, iterator: Any = None, keep: int = 3) -> None:
        self._folder, self._keep = folder, keep
        self._tracked = {"model": named_variables(model)}
        if optimizer is not None:
            self._tracked["optimizer"] = named_variables(optimizer)
        self._iterator = iterator

    def steps(self) -> list[int]:
        return steps_in(self._folder)

    def path(self, step: int) -> str:
        return f"{self._folder}/step-{step:08d}"

    # -- writing ------------------------------------------------------------------------------------------------------

    def save(self, step: int, extra: dict) -> None:
        """Writes the checkpoint of `step`, then removes the oldest ones beyond `keep`. `extra` must be
        JSON-serialisable; it is stored in the manifest.
        """
        self._clear_leftovers()
        # A corrupt checkpoint may exist at this step: the run then resumed from an earlier one.
        if step in self.steps() and not _remove(self.path(step)):
            raise InputError(f"{self.path(step)}: holds files that are not of a checkpoint; move them away")
        with _made_whole(self.path(step)) as folder:
            self._checkpoint().write(f"{folder}/state")
            manifest = {"version": _VERSION, "step": step, "extra": extra, "sha256": _checksums(folder)}
            files.write_json(f"{folder}/manifest.json", manifest)
        for old in self.steps()[self._keep :]:
            _remove(self.path(old))

    def _checkpoint(self) -> tf.train.Checkpoint:
        data = {"iterator": self._iterator} if self._iterator is not None else {}
        return tf.train.Checkpoint(**self._tracked, **data)

    def _clear_leftovers(self) -> None:
        """Removes the partial folders of a run that was killed while writing. No other process writes here."""
        files.make_folder(self._folder)
        for name in filter(_UNFINISHED.fullmatch, files.names_in(self._folder)):
            _remove(f"{self._folder}/{name}")

    # -- reading ------------------------------------------------------------------------------------------------------

    def newest_whole(self) -> dict | None:
        """The manifest of the newest checkpoint whose checksums match; corrupt ones are reported on stderr."""
        for step in self.steps():
            try:
                return _checked_manifest(self.path(step))
            except InputError as error:
                print(f"warning: passing over a broken checkpoint: {error}", file=sys.stderr)
        return None

    def manifest_of(self, step: int) -> dict:
        """The manifest of one checkpoint. Raises `InputError` if it is missing or corrupt."""
        return _checked_manifest(self.path(step))

    def restore(self, manifest: dict) -> None:
        """Restores everything tracked, including the iterator, from the checkpoint of `manifest`."""
        with self._refuses_others(manifest) as path:
            self._checkpoint().read(path).assert_consumed()

    def restore_model(self, manifest: dict) -> None:
        """Restores the model only, for an evaluation."""
        with self._refuses_others(manifest) as path:
            status = tf.train.Checkpoint(model=self._tracked["model"]).read(path)
            status.assert_existing_objects_matched().expect_partial()

    @contextlib.contextmanager
    def _refuses_others(self, manifest: dict) -> Iterator[str]:
        """Reports restore errors as a mismatch: the checksums were right, so the checkpoint belongs to another model or
        run.
        """
        folder = self.path(manifest["step"])
        try:
            yield files.without_glob(f"{folder}/state")
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{folder}: this checkpoint is of another model, optimizer or data pipeline: {reason}"
            ) from error


@contextlib.contextmanager
def _made_whole(path: str) -> Iterator[str]:
    """Yields a temporary folder that is renamed to `path` at the end. On gs:// it is `path` itself: there the manifest
    marks completeness.
    """
    if files.is_remote(path):
        files.make_folder(path)
        yield path
        return
    parent, name = os.path.split(path)
    temporary = f"{parent}/.tmp-{name}-{os.getpid()}"
    os.makedirs(temporary)
    yield temporary
    os.rename(temporary, path)


def _remove(folder: str) -> bool:
    """Removes the files of a checkpoint, and its folder if it is then empty. Returns whether the folder was removed."""
    names = files.names_in(folder) if files.is_remote(folder) else outputs.files_in(folder)
    outputs.remove_files(folder, filter(_FILES.fullmatch, names))
    return not files.exists(folder)


def are_ours(folder: str) -> bool:
    """Whether a checkpoints folder was written by this package: at least one checkpoint has a manifest in our
    format.
    """
    return any(_has_manifest(f"{folder}/step-{step:08d}") for step in steps_in(folder))


def _has_manifest(folder: str) -> bool:
    path = f"{folder}/manifest.json"
    return files.exists(path) and "sha256" in files.read_json(path, dict)


def _checksums(folder: str) -> dict[str, str]:
    return {name: files.sha256(f"{folder}/{name}") for name in sorted(tf.io.gfile.listdir(folder))}


def _checked_manifest(folder: str) -> dict:
    manifest = files.read_json(f"{folder}/manifest.json", dict)
    if manifest.get("version") != _VERSION:
        raise InputError(f"{folder}/manifest.json: expected a manifest of version {_VERSION}")
    extra, sums = manifest.get("extra"), manifest.get("sha256")
    if (
        manifest.get("step") != int(folder.rpartition("step-")[2])
        or not isinstance(sums, dict)
        or not isinstance(extra, dict)
        or not all(isinstance(extra.get(name, {}), dict) for name in ("settings", "window", "early_stopping"))
        or any("/" in name or name == ".." for name in sums)
    ):
        raise InputError(f"{folder}/manifest.json: expected the manifest of this checkpoint, but it says other things")
    for name, expected in manifest["sha256"].items():
        if files.sha256(f"{folder}/{name}") != expected:
            raise InputError(f"{folder}/{name}: its bytes are not those that were written (SHA-256 differs)")
    return manifest
