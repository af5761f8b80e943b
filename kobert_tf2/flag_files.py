"""Flag files (`--flagfile=NAME`), found by path or by the name of one shipped with the package.

A relative path in a flag file is looked up relative to the flag file, then relative to the working directory, as in
absl. If it exists in neither place, it is taken as relative to the flag file. The shipped flag files can thus be used
from anywhere.
"""

import difflib
import glob
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from kobert_tf2.errors import InputError

_PACKAGE = pathlib.Path(__file__).resolve().parent
# When installed, the configurations are in the package; in a clone, next to it.
SHIPPED = next((folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir()), None)
_PATH_FLAG = re.compile(r".*_(file|dir|checkpoint)|input|output|report|josa_report|dictionary|user_dictionary")
# Flags whose value may be a hub id: only an existing file is taken for a path.
_PATH_OR_ID = {"init_checkpoint", "vocab_file", "bert_config_file", "model_dir", "input"}


def expand(arguments: Sequence[str]) -> list[str]:
    """Replaces each `--flagfile` of the command line by the flags in it; later flags win, as in absl."""
    return list(_expanded(arguments, ()))


def _expanded(arguments: Sequence[str], within: tuple[str, ...]) -> Iterator[str]:
    """`within`: the flag files being read, outermost first."""
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
