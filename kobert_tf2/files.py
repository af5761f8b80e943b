"""Files read by line and written whole, on a disk or under gs://.

Nothing here knows what is in a file. A path with a scheme (`gs://bucket/x`) goes through `tf.io.gfile`, which is
imported only then: the text half must start without TensorFlow.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator

from kobert_tf2.errors import InputError

_BOM = b"\xef\xbb\xbf"


def is_remote(path: str) -> bool:
    return "://" in str(path)


def _gfile():
    import tensorflow as tf

    return tf.io.gfile


def exists(path: str) -> bool:
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def make_folder(path: str) -> None:
    """Makes a folder and the folders above it; one that is there already is fine."""
    if is_remote(path):
        _gfile().makedirs(path)
    elif path:
        os.makedirs(path, exist_ok=True)


def open_binary(path: str):
    """Opens for reading. A file that is missing or is a folder is an `InputError`."""
    if not exists(path):
        raise InputError(f"{path}: there is no such file")
    if is_folder(path):
        raise InputError(f"{path}: expected a file, but this is a folder")
    return _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb")


def match(patterns: str | Iterable[str]) -> list[str]:
    """All files that comma-separated globs name, sorted within each glob, each once; none is an error."""
    if isinstance(patterns, str | os.PathLike):
        patterns = str(patterns).split(",")
    paths: dict[str, None] = {}
    for pattern in filter(None, (str(pattern).strip() for pattern in patterns)):
        found = _gfile().glob(pattern) if is_remote(pattern) else glob.glob(pattern)
        files = sorted(path for path in found if not is_folder(path))
        if not files:
            raise InputError(f"{pattern}: no file matches")
        paths.update(dict.fromkeys(files))
    if not paths:
        raise InputError("expected at least one input file, but none was named")
    return list(paths)


def decode_line(line: bytes, path: str, number: int) -> str:
    """One line as text, its line end taken off; bytes that are not UTF-8 are an `InputError` with the line's number."""
    try:
        return line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number}: expected UTF-8 text, but byte {error.start + 1} of the line is "
            f"0x{line[error.start]:02x}; convert the file first (for example: iconv -f cp949 -t utf-8)"
        ) from None


def read_lines(path: str) -> Iterator[str]:
    """The lines of a UTF-8 file without their ends. A BOM is passed over.

    Only LF and CRLF end a line: U+2028 and its like are characters of the text, and `str.splitlines` would cut there.
    """
    with open_binary(path) as file:
        for number, line in enumerate(file, start=1):
            yield decode_line(line.removeprefix(_BOM) if number == 1 else line, path, number)


def read_text(path: str) -> str:
    """A whole UTF-8 file, a BOM passed over, line ends as they are."""
    with open_binary(path) as file:
        content = file.read()
    try:
        return content.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {number}: expected UTF-8 text, but found byte 0x{content[error.start]:02x}"
        ) from None


def read_json(path: str):
    """A JSON file; what is not JSON is an `InputError` with line and column."""
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: expected JSON, but the file is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None


def _beside(path: str) -> str:
    """A temporary name in the same folder, so that the rename at the end stays on one file system."""
    return f"{path}.tmp-{os.getpid()}"


@contextlib.contextmanager
def whole_file(path: str, mode: str = "w"):
    """Opens `path` for writing (`"w"` UTF-8 text, `"wb"` bytes) so that it appears whole at the end or not at all."""
    path = os.fspath(path)
    make_folder(os.path.dirname(path))
    temporary = _beside(path)
    try:
        with open_for_writing(temporary, mode) as file:
            yield file
            _flush_to_disk(file)
        move(temporary, path)
    except BaseException:
        with contextlib.suppress(Exception):
            _gfile().remove(temporary) if is_remote(path) else os.remove(temporary)
        raise


def open_for_writing(path: str, mode: str):
    if is_remote(path):
        return _gfile().GFile(path, mode)
    return open(path, mode) if "b" in mode else open(path, mode, encoding="utf-8", newline="\n")


def _flush_to_disk(file) -> None:
    file.flush()
    if hasattr(file, "fileno"):
        os.fsync(file.fileno())


def move(source: str, target: str) -> None:
    """Renames a file over another."""
    if is_remote(target):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


@contextlib.contextmanager
def whole_folder(path: str, *, overwrite: bool = False):
    """Yields a local folder to fill, which becomes `path` at the end or not at all.

    An existing `path` is an `InputError` unless `overwrite`, and then only the files written here are replaced: a
    folder named by mistake must not be emptied.
    """
    path = os.fspath(path).rstrip("/")
    if exists(path) and not overwrite:
        raise InputError(f"{path}: already there; name another folder, or ask for it to be overwritten")
    if exists(path) and not is_folder(path):
        raise InputError(f"{path}: expected a folder, but this is a file")
    parent = None if is_remote(path) else os.path.dirname(path) or "."
    make_folder(parent or "")
    temporary = tempfile.mkdtemp(prefix=".tmp-" + os.path.basename(path) + "-", dir=parent)
    try:
        os.chmod(temporary, 0o755)
        yield temporary
        if not exists(path) and not is_remote(path):
            os.rename(temporary, path)
        else:
            _move_tree(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_tree(source: str, target: str) -> None:
    for folder, _, names in os.walk(source):
        relative = os.path.relpath(folder, source)
        into = target if relative == "." else f"{target}/{relative}"
        make_folder(into)
        for name in names:
            if is_remote(target):
                _gfile().copy(os.path.join(folder, name), f"{into}/{name}", overwrite=True)
            else:
                os.replace(os.path.join(folder, name), f"{into}/{name}")


def remove(path: str) -> None:
    """Removes a file, if it is there."""
    if exists(path):
        _gfile().remove(path) if is_remote(path) else os.remove(path)


def write_json(path: str, value, *, indent: int | None = 2) -> None:
    """Writes JSON that keeps Hangul readable, whole or not at all."""
    with whole_file(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=indent)
        file.write("\n")


def sha256(path: str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
