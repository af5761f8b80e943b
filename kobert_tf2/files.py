"""Reads files by line and writes them atomically, on a local disk or under gs://.

Nothing here depends on a file's contents. A path with a scheme (`gs://bucket/x`) goes through `tf.io.gfile`, which is
imported only when needed: text processing must not load TensorFlow.
"""

import contextlib
import errno
import functools
import glob
import hashlib
import json
import math
import os
import re
import secrets
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, BinaryIO

from kobert_tf2.errors import InputError

# UTF-8's byte order mark.
_BOM = b"\xef\xbb\xbf"


def is_remote(path: str) -> bool:
    return "://" in str(path)


class _RemoteFiles:
    """`tf.io.gfile` with errors converted to `OSError`: no network, no bucket, no permission."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        import tensorflow as tf

        function = getattr(tf.io.gfile, name)

        def call(path: str, *args: Any, **kwargs: Any) -> Any:
            try:
                return function(path, *args, **kwargs)
            except tf.errors.OpError as error:
                raise OSError(errno.EREMOTEIO, first_line(error), path) from None

        return call


def _gfile() -> Any:
    return _RemoteFiles()


def first_line(error: Exception) -> str:
    """The first line of a library's error message, without TensorFlow's operation name, truncated if long."""
    said = re.sub(r"^\{\{[^}]*\}\} ", "", str(error).strip())
    return (said.splitlines() or [type(error).__name__])[0][:200]


def exists(path: str) -> bool:
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def names_in(folder: str) -> list[str]:
    """The sorted names in a folder; empty if the folder does not exist."""
    if not is_folder(folder):
        return []
    names = _gfile().listdir(folder) if is_remote(folder) else os.listdir(folder)
    return sorted(name.rstrip("/") for name in names)


def make_folder(path: str) -> None:
    """Creates a folder and its parents, if they do not exist."""
    if is_remote(path):
        _gfile().makedirs(path)
    elif path:
        try:
            os.makedirs(os.path.realpath(path), exist_ok=True)  # For a dangling link, creates its target.
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None


# {folder: the number under which it is open}, for `without_glob`.
_open_folders: dict[str, int] = {}


def without_glob(path: str) -> str:
    """The path of a local checkpoint in a form that TensorFlow does not take for a glob.

    A folder with [, ? or * in its name is replaced by the file descriptor under which this process has it open.
    """
    folder, name = os.path.split(path)
    if is_remote(path) or not glob.has_magic(folder) or not os.path.isdir("/proc/self/fd"):
        return path
    number = _open_folders.get(folder)
    if number is None or not os.path.samestat(os.fstat(number), os.stat(folder)):
        number = _open_folders[folder] = os.open(folder, os.O_RDONLY)
    return f"/proc/self/fd/{number}/{name}"


def open_binary(path: str) -> BinaryIO:
    """Opens a file for reading. Raises `InputError` if it is missing or a folder."""
    if not exists(path):
        raise InputError(f"{path}: there is no such file")
    if is_folder(path):
        raise InputError(f"{path}: expected a file, but this is a folder")
    return _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb")


def match(patterns: str | Iterable[str]) -> list[str]:
    """All files that match comma-separated globs, sorted within each glob, without duplicates. Raises if nothing
    matches.
    """
    if isinstance(patterns, str | os.PathLike):
        whole = str(patterns)
        patterns = [whole] if not is_remote(whole) and os.path.isfile(whole) else whole.split(",")
    paths: dict[str, None] = {}
    for pattern in filter(None, (str(pattern).strip() for pattern in patterns)):
        if is_remote(pattern):
            found = _gfile().glob(pattern)
        else:  # A folder may be called `[1]`.
            found = [pattern] if os.path.exists(pattern) else glob.glob(pattern)
        files = sorted(path for path in found if not is_folder(path))
        if not files:
            raise InputError(f"{pattern}: no file matches")
        paths.update(dict.fromkeys(files))
    if not paths:
        raise InputError("expected at least one input file, but none was named")
    return list(paths)


# The number of bytes at the start of a file used to detect its encoding.
_HEAD = 1 << 16
# Longer marks first: UTF-32's little-endian mark starts with that of UTF-16.
_OTHER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# Magic numbers of files that users mistake for text.
_NO_TEXT = (
    (b"\x1f\x8b", "compressed (gzip): gunzip it first"),
    (b"BZh9", "compressed (bzip2): bunzip2 it first"),
    (b"\xfd7zXZ\x00", "compressed (xz): unxz it first"),
    (b"(\xb5/\xfd", "compressed (zstd): unzstd it first"),
    (b"PK\x03\x04", "a ZIP archive or an Office document (xlsx, docx, hwpx): save its content as UTF-8 text first"),
    (b"\xd0\xcf\x11\xe0", "an Office or HWP document: save its content as UTF-8 text first"),
    (b"%PDF-", "a PDF document: extract its text first"),
)
_LISTED_LINES = 10
_LONGEST_REMARK = 400


class BadLines:
    """Collects the bad lines of a file for one message, which lists the first ten by number."""

    def __init__(self, path: str):
        self.path, self.count, self.advice = path, 0, ""
        self._listed: list[tuple[int, str]] = []

    def add(self, number: int, what: str, advice: str = "") -> None:
        """Records that line `number` is wrong. The first non-empty `advice` is put once at the end of the message."""
        self.count += 1
        self.advice = self.advice or advice
        if len(self._listed) < _LISTED_LINES:
            self._listed.append((number, what if len(what) <= _LONGEST_REMARK else f"{what[:_LONGEST_REMARK]}..."))

    def raise_if_any(self) -> None:
        """Raises an `InputError` with the number of bad lines, if there are any."""
        if not self.count:
            return
        end = f"; {self.advice}" if self.advice else ""
        if self.count == 1:
            number, what = self._listed[0]
            raise InputError(f"{self.path}, line {number}: {what}{end}")
        more = self.count - len(self._listed)
        listed = "; ".join(f"line {number}: {what}" for number, what in self._listed)
        rest = f"; and {more:,} more" if more else ""
        raise InputError(f"{self.path}: {self.count:,} lines are wrong: {listed}{rest}{end}")


def decode_line(line: bytes, path: str, number: int, bad_lines: BadLines | None = None) -> str:
    """Decodes one line and strips its line end.

    For bytes that are not UTF-8, raises `InputError` with the line number or, given `bad_lines`, records the line there
    and returns "".
    """
    try:
        return line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"expected UTF-8 text, but byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
        given = BadLines(path) if bad_lines is None else bad_lines
        given.add(number, what, "" if given.advice else _advice(path))
        if bad_lines is None:
            given.raise_if_any()
        return ""


def check_beginning(content: bytes, path: str) -> None:
    """Raises `InputError` if a file (its first line suffices) is not text, or is UTF-16 or UTF-32 by its byte order
    mark or many NULs.
    """
    head = content[:_HEAD]
    for mark, what in _NO_TEXT:
        if head.startswith(mark):
            raise InputError(f"{path}: expected UTF-8 text, but the file is {what}")
    for mark, encoding in _OTHER_MARKS:
        if head.startswith(mark):
            shown = " ".join(f"{byte:02X}" for byte in mark)
            raise InputError(
                f"{path}: expected UTF-8 text, but the file begins with {shown}: {_conversion(encoding, path)}"
            )
    if b"\0" in head and (utf_16 := _utf16_without_mark(head)):
        raise InputError(
            f"{path}: expected UTF-8 text, but {head.count(0)} of the first {len(head)} bytes are NUL: "
            f"{_conversion(utf_16, path)}"
        )


def _utf16_without_mark(head: bytes) -> str | None:
    """Either "UTF-16LE" or "UTF-16BE" if the bytes are Korean or English text in that encoding."""
    for encoding in ("UTF-16LE", "UTF-16BE"):
        text = head[: len(head) // 2 * 2].decode(encoding, "replace")
        common = sum("\t" <= char <= "~" or "\u3130" <= char <= "\u318f" or "가" <= char <= "힣" for char in text)
        # Every UTF-16 space and line feed contains a NUL. CP949 read as big-endian is all syllables, but has no NUL.
        if len(text) > 2 and head.count(0) * 50 >= len(text) and common >= 0.7 * len(text):
            return encoding
    return None


def _conversion(encoding: str, path: str) -> str:
    return f"it is {encoding}; convert it first: iconv -f {encoding} -t UTF-8 {shlex.quote(path)} > utf8.txt"


def _advice(path: str) -> str:
    """Advice for a file that is not UTF-8, based on its first bytes."""
    head = b""
    if is_remote(path) or os.path.isfile(path):  # not a pipe, which can be read only once
        with open_binary(path) as file:
            head = file.read(_HEAD)
    if encoding := _utf16_without_mark(head):
        return _conversion(encoding, path)
    # The last line may be truncated inside a character.
    lines = [line for line in head[: head.rfind(b"\n") + 1].split(b"\n") if not line.isascii()] or [head]
    if 2 * sum(_decodes(line, "utf-8") for line in lines) >= len(lines):
        return "other lines are UTF-8, so these bytes are damaged or come from a file of another encoding"
    if head and _decodes(b"\n".join(lines), "cp949"):
        return f"it can be read as CP949; convert it first: iconv -f CP949 -t UTF-8 {shlex.quote(path)} > utf8.txt"
    return "convert the file to UTF-8 first (for example: iconv -f CP949 -t UTF-8)"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_lines(path: str, bad_lines: BadLines | None = None) -> Iterator[str]:
    """Yields the lines of a UTF-8 file without line ends. A BOM is skipped.

    Only LF and CRLF end a line: U+2028 and similar characters are part of the text, but `str.splitlines` would split
    there. A line that is not UTF-8 raises `InputError` or, given `bad_lines`, is recorded there and yielded as an empty
    line.
    """
    with open_binary(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                check_beginning(line, path)
                line = line.removeprefix(_BOM)
            yield decode_line(line, path, number, bad_lines)


def read_text(path: str) -> str:
    """The text of a UTF-8 file without its BOM, line ends unchanged."""
    with open_binary(path) as file:
        content = file.read()
    check_beginning(content, path)
    content = content.removeprefix(_BOM)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {number}: expected UTF-8 text, but found byte 0x{content[error.start]:02x}; {_advice(path)}"
        ) from None


def read_json(path: str, kind: type | None = None) -> Any:
    """Reads a JSON file whose top-level value must have this type (`dict` or `list`); raises `InputError` otherwise.

    It also raises `InputError` for what Python's parser accepts or fails on differently: NaN and infinities, numbers of
    more than 64 bits, and nesting beyond the interpreter's limit.
    """
    return parse_json(read_text(path), path, kind)


def parse_json(text: str, path: str, kind: type | None = None, *, first_line: int = 1, strict: bool = False) -> Any:
    """Parses a JSON text that begins at line `first_line` of `path`, with the checks of `read_json`.

    With `strict`, a duplicate name in an object raises `InputError` too: all but the last value would be lost.
    """
    if not text.strip():
        raise InputError(f"{path}: expected JSON, but the file is empty")
    hooks: dict[str, Any] = {"object_pairs_hook": functools.partial(_object_of_pairs, path)} if strict else {}
    try:
        value = json.loads(text, parse_int=_json_int, parse_float=_json_float, parse_constant=_no_json, **hooks)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}, line {line}, column {error.colno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise InputError(f"{path}: expected JSON, but its lists and objects are nested too deeply") from None
    except _ConstantError:
        constant = next(found for found in _CONSTANTS.finditer(text) if found[1])
        line = first_line + text.count("\n", 0, constant.start())
        raise InputError(
            f"{path}, line {line}: expected JSON, which has no {constant[1]}; is it null that is meant?"
        ) from None
    except _NumberError as error:
        raise InputError(f"{path}: expected JSON, but {error}") from None
    if kind is not None and not isinstance(value, kind):
        raise InputError(f"{path}: expected {_JSON_NAMES[kind]}, but found {json_name(value)}")
    return value


class _ConstantError(Exception):
    """NaN or an infinity."""


class _NumberError(Exception):
    """A number that does not fit into 64 bits."""


# Matches a string, which is skipped, or a JavaScript constant that Python accepts but JSON does not have.
_CONSTANTS = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')


def _object_of_pairs(path: str, pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        shown = json.dumps(value, ensure_ascii=False)
        raise InputError(f"{path}: expected each name of an object once, but {twice!r} stands twice in {shown[:80]}")
    return value


_JSON_NAMES = {
    dict: "a JSON object",
    list: "a JSON list",
    str: "a JSON string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


def json_name(value: object) -> str:
    """The name of a JSON value's type in messages: "a JSON list"."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


# `int(1e30)`, which transformers writes into tokenizer_config.json for "no limit" (model_max_length).
_NO_LIMIT = "1000000000000000019884624838656"


def _json_int(digits: str) -> int:
    if digits == _NO_LIMIT:
        return int(digits)
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise _NumberError(f"it holds the number {digits[:12]}... of {len(digits)} digits, which no 64 bits hold")
    return int(digits)


def _json_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _NumberError(f"it holds the number {digits[:24]}, which is too large")
    return number


def _no_json(name: str) -> None:
    raise _ConstantError(name)


def is_stream(path: str) -> bool:
    """Whether `path` is written to instead of replaced: a pipe, a character device, or an open file of this process."""
    if is_remote(path):
        return False
    if _descriptor(path) is not None:
        return True
    mode = os.stat(path).st_mode if os.path.exists(path) else 0
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _descriptor(path: str) -> int | None:
    """The file descriptor that a name such as /dev/stdout or /proc/self/fd/3 refers to."""
    for _ in range(40):  # Linux follows at most 40 links.
        path = os.path.abspath(path)
        folder, name = os.path.split(path)
        if folder in ("/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd") and name.isdigit():
            return int(name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


@contextlib.contextmanager
def _opened_stream(path: str, mode: str) -> Iterator[IO[Any]]:
    """Opens a stream for writing. An open file is shared, so that other writers' output is not overwritten."""
    descriptor = _descriptor(path)
    if descriptor is None:
        with open_for_writing(path, mode) as file:
            yield file
        return
    sys.stdout.flush()
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with os.fdopen(os.dup(descriptor), mode, **options) as file:
        yield file


@contextlib.contextmanager
def whole_file(path: str, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens `path` for atomic writing (`"w"` UTF-8 text, `"wb"` bytes): the file appears complete at the end or not at
    all.

    A link is followed: its target is replaced and keeps its permissions. A pipe or a character device is written to.
    """
    path = os.fspath(path)
    if is_stream(path):
        with _opened_stream(path, mode) as file:
            yield file
        return
    path = path if is_remote(path) else os.path.realpath(path)
    make_folder(os.path.dirname(path))
    # A temporary name in the same folder, so that the final rename stays on one file system. The random part prevents a
    # collision of two machines: in containers, process ids are often the same.
    temporary = f"{path}.tmp-{os.getpid()}{secrets.randbelow(10**9):09d}"
    try:
        with open_for_writing(temporary, mode) as file:
            yield file
            file.flush()
            if hasattr(file, "fileno"):
                os.fsync(file.fileno())
        # With the permissions of the replaced file, so that a private file stays private.
        if not is_remote(path) and os.path.exists(path):
            if not os.path.isfile(path):
                raise InputError(f"{path}: expected a file to write, but this is something else")
            os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        move(temporary, path)
    except BaseException as error:
        with contextlib.suppress(Exception):
            _gfile().remove(temporary) if is_remote(path) else os.remove(temporary)
        if isinstance(error, OSError) and error.errno and not error.filename:  # A full disk does not name the file.
            raise OSError(error.errno, error.strerror, path) from None
        raise


def open_for_writing(path: str, mode: str) -> IO[Any]:
    if is_remote(path):
        return _gfile().GFile(path, mode)
    return open(path, mode) if "b" in mode else open(path, mode, encoding="utf-8", newline="\n")


def move(source: str, target: str) -> None:
    """Renames a file, replacing the target."""
    if is_remote(target):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


@contextlib.contextmanager
def whole_folder(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """Yields a local folder to fill, which is moved to `path` at the end or not at all.

    An existing `path` raises `InputError` unless `overwrite` is set. Even then only the files written here are
    replaced: a folder named by mistake must not be emptied.
    """
    path = os.fspath(path).rstrip("/")
    path = path if is_remote(path) else os.path.realpath(path)
    _check_new_folder(path, overwrite)
    parent = None if is_remote(path) else os.path.dirname(path) or "."
    make_folder(parent or "")
    temporary = tempfile.mkdtemp(prefix=".tmp-" + os.path.basename(path) + "-", dir=parent)
    try:
        os.chmod(temporary, 0o755)
        yield temporary
        _check_new_folder(path, overwrite)  # Another run may have created it in the meantime.
        if not exists(path) and not is_remote(path):
            os.rename(temporary, path)
        else:
            _move_tree(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_new_folder(path: str, overwrite: bool) -> None:
    if exists(path) and not overwrite:
        raise InputError(f"{path}: already there; name another folder, or ask for it to be overwritten")
    if exists(path) and not is_folder(path):
        raise InputError(f"{path}: expected a folder, but this is a file")


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
    """Removes a file if it exists."""
    if exists(path):
        _gfile().remove(path) if is_remote(path) else os.remove(path)


def remove_empty_folder(path: str) -> None:
    """Removes a folder if it exists and is empty."""
    if is_remote(path):
        if is_folder(path) and not _gfile().listdir(path):
            _gfile().rmtree(path)
    elif os.path.isdir(path) and not os.listdir(path):
        os.rmdir(os.path.realpath(path))


def json_text(value: object, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """JSON text with readable Hangul if the encoding has it; file names that are not UTF-8 are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def write_json(path: str, value: object, *, indent: int | None = 2) -> None:
    """Writes JSON with readable Hangul, atomically."""
    text = json_text(value, indent=indent)
    with whole_file(path) as file:
        file.write(f"{text}\n")


def size(path: str) -> int:
    """A file's size in bytes."""
    return _gfile().stat(path).length if is_remote(path) else os.path.getsize(path)


def sha256(path: str) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
