"""Checks whether a run may write to its outputs. The rules for every output of every tool and function:

1. An output is never an input of the same run, whether through a symbolic or hard link, another spelling or a glob; and
   a folder that is replaced as a whole contains no input.
2. An existing file or folder is replaced only if this package wrote it, which it recognises by the key "kobert_tf2" in
   its JSON, a sidecar file, or a unique format. An empty file may be replaced.
3. A link is followed to its target; a pipe or a character device such as /dev/stdout is written to, not replaced
   (`files.whole_file`).
4. A folder is removed by removing the files written there, and then only if nothing else is in it.
5. Only one run at a time writes into a folder. The lock is a kernel lock, released when its process ends.

Paths under gs:// are compared by name only, and are not locked.
"""

import contextlib
import fcntl
import glob
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from kobert_tf2 import files
from kobert_tf2.errors import InputError

SIGN = "kobert_tf2"

Paths = str | os.PathLike | Iterable[str] | None


# ------------------------------------------------------------------------------------------------- outputs and inputs


def refuse_inputs(
    outputs: Mapping[str, Paths], inputs: Mapping[str, Paths], *, replaced: Mapping[str, Paths] | None = None
) -> None:
    """Raises `InputError` if an output is an input; both are {name of the argument: path, paths or None}.

    An input may be comma-separated globs, a folder, the prefix of a TF1 checkpoint, or not a file at all (a hub id).
    `replaced` are outputs that are replaced as a whole; if they are folders, they may not contain an input either.
    """
    written = [pair for pair in _pairs({**outputs, **(replaced or {})}) if not files.is_stream(pair[1])]
    _refuse_two_in_one(written)
    for source_name, source in _pairs(inputs):
        paths = _files_of(source)
        identities = {_identity(path) for path in paths}
        folders = {parent for path in paths for parent in pathlib.PurePath(_resolved(path)).parents}
        patterns = [_resolved(part.strip()) for part in source.split(",") if glob.has_magic(part)]
        for name, output in written:
            place = pathlib.PurePath(_resolved(output))
            holds = name in (replaced or {}) and place in folders
            if holds or _identity(output) in identities or any(map(place.match, patterns)):
                raise InputError(
                    f"{output}: expected --{name} to be another path, but it {'holds' if holds else 'is'} an input of "
                    f"the same run (--{source_name}={source})"
                )


def _refuse_two_in_one(written: list[tuple[str, str]]) -> None:
    seen: dict = {}
    for name, output in written:
        identity = _identity(output)
        if identity in seen:
            raise InputError(f"{output}: expected --{name} to be a path of its own, but --{seen[identity]} is the same")
        seen[identity] = name


def _identity(path: str) -> object:
    """A key that is equal for two names of the same file, existing or not."""
    with contextlib.suppress(OSError):
        if not files.is_remote(path):
            found = os.stat(path)
            return found.st_dev, found.st_ino
    return _resolved(path).rstrip("/")


def _pairs(arguments: Mapping[str, Paths]) -> Iterator[tuple[str, str]]:
    for name, paths in arguments.items():
        several = [paths] if isinstance(paths, str | os.PathLike) else paths or ()
        yield from ((name, os.fspath(path)) for path in several if path)


def _files_of(source: str) -> list[str]:
    """All existing paths that an input refers to."""
    if files.is_remote(source):
        return [source]
    found = [source] if os.path.lexists(source) else []
    for pattern in filter(None, map(str.strip, source.split(","))):
        found += glob.glob(pattern) if glob.has_magic(pattern) else [pattern] * os.path.lexists(pattern)
        found += glob.glob(f"{glob.escape(pattern)}.index") + glob.glob(f"{glob.escape(pattern)}.data-*")
    return found


def _resolved(path: str) -> str:
    return path if files.is_remote(path) else os.path.realpath(path)


# --------------------------------------------------------------------------------------------------- what is there


def check_file(path: str, *, what: str, is_ours: Callable[[str], bool], overwrite: bool = True) -> None:
    """Raises `InputError` if a file may not be written at `path`.

    Args:
        what: a description of the file for the message ("a report of evaluate_mrc").
        is_ours: whether an existing file is of that kind; it may raise `InputError` for a file that it cannot read.
        overwrite: whether a file of that kind may be replaced. Any other file never is.
    """
    path = os.fspath(path)
    if files.is_stream(path):
        return
    _check_place(os.path.dirname(_resolved(path)), path)
    if not files.exists(path):
        return
    if files.is_folder(path):
        raise InputError(f"{path}: expected a file to write, but this is a folder")
    if is_empty(path):
        return
    if not _holds(is_ours, path):
        raise InputError(f"{path}: already there, and it is not {what}; name another file, or move this one away")
    if not overwrite:
        raise InputError(f"{path}: already there; name another file, or replace it with --overwrite")
    if not files.is_remote(path) and not os.stat(path).st_mode & 0o222:
        raise InputError(f"{path}: already there and read-only; name another file, or make it writable")


def _check_place(folder: str, path: str) -> None:
    """Checks that a file can be created in a folder, existing or not, so that a run does not fail after hours of
    work.
    """
    if files.is_remote(folder):
        return
    place = pathlib.Path(_resolved(folder))
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    probe = nearest / f".kobert_tf2.tmp-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def check_folder(folder: str, names: Iterable[str], *, what: str, is_ours: Callable[[str], bool]) -> None:
    """Raises `InputError` if files of these names (or globs) may not be written into `folder`.

    Other files in the folder are ignored and kept. `is_ours(folder)` returns whether the files of these names are from
    an earlier run.
    """
    folder = os.fspath(folder).rstrip("/") or "/"
    if files.exists(folder) and not files.is_folder(folder):
        raise InputError(f"{folder}: expected a folder, but this is a file")
    _check_place(folder, folder)
    if not files.exists(folder):
        return
    there = [path for name in names for path in _found(folder, name) if files.is_folder(path) or not is_empty(path)]
    if there and not _holds(is_ours, folder):
        raise InputError(f"{there[0]}: already there, and not of {what}; name another folder, or move this away")


def _found(folder: str, name: str) -> list[str]:
    if files.is_remote(folder) or not glob.has_magic(name):
        return [f"{folder}/{name}"] if files.exists(f"{folder}/{name}") else []
    return sorted(glob.glob(f"{glob.escape(folder)}/{name}"))


def _holds(is_ours: Callable[[str], bool], path: str) -> bool:
    with contextlib.suppress(InputError, OSError):
        return is_ours(path)
    return False


def is_empty(path: str) -> bool:
    """Whether a file is empty; False if it is not a file."""
    if files.is_folder(path) or not files.exists(path):
        return False
    with files.open_binary(path) as file:
        return not file.read(1)


def signed(values: dict, tool: str) -> dict:
    """Adds this package's signature to the values of a JSON object, for `is_signed`."""
    return {**values, SIGN: {"written_by": tool}}


def is_signed(path: str) -> bool:
    """Whether a JSON file has this package's signature."""
    with contextlib.suppress(InputError):
        return files.exists(path) and SIGN in files.read_json(path, dict)
    return False


# ------------------------------------------------------------------------------------------------------------ removing


def remove_files(folder: str, names: Iterable[str]) -> bool:
    """Removes these files, then their subfolders and `folder` itself if they are empty.

    Returns whether `folder` was removed; it is kept if it contains anything else.
    """
    names = list(names)
    for name in names:
        files.remove(f"{folder}/{name}")
    above = {str(parent) for name in names for parent in pathlib.PurePosixPath(name).parents}
    for name in sorted(above, key=len, reverse=True):
        _remove_empty(folder if name == "." else f"{folder}/{name}")
    return not files.exists(folder)


def _remove_empty(folder: str) -> None:
    if files.is_remote(folder):
        files.remove_empty_folder(folder)
        return
    with contextlib.suppress(OSError):  # Not empty, missing, or a link.
        os.rmdir(folder)


def files_in(folder: str) -> list[str]:
    """The sorted relative paths of all files in and below a local folder. Links count as files."""
    found = []
    for path, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        found += [os.path.relpath(os.path.join(path, name), folder) for name in (*names, *links)]
    return sorted(found)


# ------------------------------------------------------------------------------------------------------------- locking


@contextlib.contextmanager
def only_run(path: str) -> Iterator[None]:
    """Context manager for a run that creates or fills the folder `path`. A second, concurrent run gets an `InputError`.

    If the folder does not exist yet, an empty folder next to it is locked, and removed at the end.
    """
    if files.is_remote(path) or os.path.isdir(path):
        with FolderLock(path):
            yield
        return
    folder, name = os.path.split(os.path.realpath(path))
    beside = f"{folder}/.{name}.lock"
    os.makedirs(beside, exist_ok=True)
    with FolderLock(beside):
        try:
            yield
        finally:
            _remove_empty(beside)


# {folder: [descriptor, hold count]}. A process may acquire its own lock again.
_held: dict[tuple[int, str], list[int]] = {}


class FolderLock:
    """Locks an existing folder for this process until `release` or the end of the process.

    Raises `InputError` if another process holds the lock. Nothing is written; a folder under gs:// is not locked. With
    `make`, a missing folder is created, and removed at the end if it is still empty.
    """

    def __init__(self, folder: str, *, make: bool = False):
        self._key, self._made = None, False
        if files.is_remote(folder):
            return
        if make and not os.path.isdir(folder):
            files.make_folder(folder)
            self._made = True
        key = (os.getpid(), os.path.realpath(folder))
        if key in _held:
            _held[key][1] += 1
        else:
            _held[key] = [_locked_descriptor(folder), 1]
        self._key = key

    def release(self) -> None:
        key, self._key = self._key, None
        if key is None or key not in _held:
            return
        if self._made:
            _remove_empty(key[1])
        _held[key][1] -= 1
        if not _held[key][1]:
            os.close(_held.pop(key)[0])

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _locked_descriptor(folder: str) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            raise InputError(f"{folder}: another run has just replaced or removed this folder; start again")
        return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(
            f"{folder}: another run is writing into this folder; wait for its end, or name another folder"
        ) from None
    except OSError as error:  # NFS cannot lock a folder.
        message = f"warning: {folder}: cannot be locked ({error.strerror}); see that no other run writes into it"
        print(message, file=sys.stderr)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
