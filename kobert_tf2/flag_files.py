"""Flag files (`--flagfile=NAME`): found by their path, or by the name of one that ships with the package.

A relative path in a flag file means the file that lies there seen from the flag file, or else from the working
directory, as absl has it; where it exists in neither place it is relative to the flag file. What ships with the
package can thus be used from anywhere.
"""

import difflib
import glob
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from kobert_tf2.errors import InputError

_PACKAGE = pathlib.Path(__file__).resolve().parent
# Installed, the configurations lie in the package; in a clone, beside it.
SHIPPED = next((folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir()), None)
_PATH_FLAG = re.compile(r".*_(file|dir|checkpoint)|input|output|report|josa_report|dictionary|user_dictionary")
# Flags whose value may be a hub id: only what exists is taken for a path.
_PATH_OR_ID = {"init_checkpoint", "vocab_file", "bert_config_file", "model_dir", "input"}


def expand(arguments: Sequence[str]) -> list[str]:
    """The command line with each `--flagfile` replaced by the flags in it; later flags win, as in absl."""
    return list(_expanded(arguments, ()))


def _expanded(arguments: Sequence[str], within: tuple[str, ...]) -> Iterator[str]:
    """`within`: the flag files that are being read, outermost first."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            yield argument
            yield from remaining
            return
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name != "flagfile":
            yield argument
            continue
        path = _find(value if equals else next(remaining, ""), within)
        if path in within:
            raise InputError(f"{path}: a flag file that includes itself: {' -> '.join([*within, path])}")
        folder = os.path.dirname(path)
        flags = [_with_own_paths(flag, folder) for flag in _read(path)]
        yield from _expanded(flags, (*within, path))


def _find(name: str, within: tuple[str, ...]) -> str:
    beside = os.path.join(os.path.dirname(within[-1]), name) if within else name
    shipped = [str(SHIPPED / file) for file in (name, f"{name}.flags")] if SHIPPED and name else []
    for path in (beside, name, *shipped):
        if os.path.isfile(path):
            return os.path.abspath(path)
    names = sorted(path.stem for path in SHIPPED.glob("*.flags")) if SHIPPED else []
    near = difflib.get_close_matches(pathlib.Path(name).stem, names, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    where = f"{within[-1]}: " if within else ""
    raise InputError(
        f"{where}--flagfile={name:.300}: expected a file, or one of {', '.join(names)}, but there is none{meant}"
    )


def _read(path: str) -> list[str]:
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a flag file in UTF-8") from None
    flags = [line.strip() for line in lines]
    return [flag for flag in flags if flag and not flag.startswith(("#", "//"))]


def _with_own_paths(flag: str, folder: str) -> str:
    name, equals, value = flag.partition("=")
    if not equals or not _PATH_FLAG.fullmatch(name.lstrip("-")):
        return flag
    return f"{name}={','.join(_own_path(part, name.lstrip('-'), folder) for part in value.split(','))}"


def _own_path(path: str, name: str, folder: str) -> str:
    if not path or "://" in path or os.path.isabs(path) or path.startswith("~"):
        return path
    own = os.path.join(folder, path)
    if glob.glob(own):
        return own
    return path if glob.glob(path) or name in _PATH_OR_ID else own
