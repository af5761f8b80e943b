"""Whether a run may write where it is asked to. The rule for every output of every tool and function:

1. An output is never an input of the same run: not through a link or a hard link, another spelling or a glob; and a
   folder that is replaced as a whole holds no input.
2. A file or folder that exists is replaced only if this package wrote it. It carries a sign: the key "kobert_tf2" in
   its JSON, a side-car, or a form that no other file has. An empty file has nothing to lose.
3. A link is written at its target; a pipe or a character device, such as /dev/stdout, is written to and stays
   (`files.whole_file`).
4. A folder is removed file by file, of what was written there, and only if nothing else is in it.
5. One run at a time writes into a folder. The lock is the kernel's: it ends with the process that holds it.

What is under gs:// is compared by name alone, and is not locked.
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
    """Raises `InputError` where an output is an input; both are {name of the argument: path, paths or None}.

    An input may be globs separated by commas, a folder, the prefix of a TF1 checkpoint, or something that is no file
    (a hub id). `replaced` are outputs that are replaced as a whole: those that are folders may hold no input either.
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
    """Equal for two names of one file, be it there or not yet."""
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
    """Every path that an input stands for and that exists."""
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
        what: what is written there, for the sentence ("a report of evaluate_mrc").
        is_ours: tells a file of that kind from any other; it may raise `InputError` for a file that it cannot read.
        overwrite: whether one of that kind is replaced. Any other file never is.
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
    """Tries whether a file can be made in a folder, be it there yet or not: better now than after hours of work."""
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

    Other files of a folder do not matter: they stay. `is_ours(folder)` tells whether files of these names there are
    of an earlier run.
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
    """Whether a file has no bytes; False for what is no file."""
    if files.is_folder(path) or not files.exists(path):
        return False
    with files.open_binary(path) as file:
        return not file.read(1)


def signed(values: dict, tool: str) -> dict:
    """The values of a JSON object with the sign of this package, for `is_signed`."""
    return {**values, SIGN: {"written_by": tool}}


def is_signed(path: str) -> bool:
    """Whether a JSON file carries the sign of this package."""
    with contextlib.suppress(InputError):
        return files.exists(path) and SIGN in files.read_json(path, dict)
    return False


# ------------------------------------------------------------------------------------------------------------ removing


def remove_files(folder: str, names: Iterable[str]) -> bool:
    """Removes these files, then the folders among them and `folder` itself where nothing is left in them.

    Returns whether `folder` is gone: it stays if it holds anything else.
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
    with contextlib.suppress(OSError):  # Not empty, not there, or a link to elsewhere.
        os.rmdir(folder)


def files_in(folder: str) -> list[str]:
    """The names of all files in and below a local folder, relative to it, sorted. Links count as files."""
    found = []
    for path, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        found += [os.path.relpath(os.path.join(path, name), folder) for name in (*names, *links)]
    return sorted(found)


# ------------------------------------------------------------------------------------------------------------- locking


@contextlib.contextmanager
def only_run(path: str) -> Iterator[None]:
    """Around a run that makes or fills the folder `path`: a second one at the same time is an `InputError`.

    Where there is no such folder yet, an empty one beside it is locked, and removed at the end.
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


# {folder: [descriptor, how often it is held]}. A process may take its own lock again.
_held: dict[tuple[int, str], list[int]] = {}


class FolderLock:
    """Holds a folder that exists for this process, until `release` or the end of the process.

    Another process that holds it is an `InputError`. Nothing is written; a folder under gs:// is not locked. With
    `make` the folder is made where it is missing, and goes at the end if it is still empty.
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
