"""A Mecab user dictionary from a list of words, with nothing but the pip packages.

MeCab's own `mecab-dict-index` does not come with mecab-python3, and it refuses the mecab-ko dictionary: it
compares the number of left ids with the wrong side of the connection matrix, whose sides differ there (3,822 and
2,693). So the compiler inside the wheel's library is called, in a process of its own (it ends the process when
something is wrong), on a folder in which the two lists of ids have changed places: every word comes with its
ids, so that the lists serve for nothing but this comparison.
"""

import csv
import io
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.mecab import find_dictionary

DEFAULT_TAG = "NNP"
# Low, so that a word that somebody took the trouble to list is preferred to what the dictionary would make of it.
DEFAULT_COST = 0
_OTHER_SIDE = {"left-id.def": "right-id.def", "right-id.def": "left-id.def"}
_FILES = ("dicrc", "char.bin", "unk.dic", "matrix.bin", "pos-id.def", "rewrite.def", "feature.def", *_OTHER_SIDE)

# mecab/src/dictionary.cpp: DictionaryMagicID, and MECAB_USR_DIC of mecab.h.
_MAGIC, _USER = 0xEF718F77, 1

_COMPILER = """
import ctypes, sys
arguments = [argument.encode() for argument in sys.argv[2:]]
sys.exit(ctypes.CDLL(sys.argv[1]).mecab_dict_index(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments)))
"""


def compile_user_dictionary(
    words_file: str, output: str, *, dictionary: str | None = None, overwrite: bool = False
) -> int:
    """Compiles a list of words for `MorphemeAnalyser(user_dictionary=output)`; returns how many there are.

    A line is `word`, `word,tag`, `word,tag,cost` or `word,tag,cost,parts` (parts as in the dictionary,
    사과/NNG/*+나무/NNG/*); the tag is NNP where none is given. Empty lines and lines that begin with # are passed
    over. A user dictionary that is there already is replaced with `overwrite` alone, any other file never.
    """
    outputs.refuse_inputs({"output": output}, {"words_file": words_file, "dictionary": dictionary})
    outputs.check_file(output, what="a compiled Mecab user dictionary", is_ours=_is_compiled, overwrite=overwrite)
    folder, _ = find_dictionary(dictionary)
    rows = [_row(line, f"{words_file}, line {number}", folder) for number, line in _lines(words_file)]
    if not rows:
        raise InputError(f"{words_file}: expected a word a line, but there is none")
    with tempfile.TemporaryDirectory() as work:
        compiled = _compile(rows, pathlib.Path(folder), pathlib.Path(work))
    with files.whole_file(output, "wb") as file:
        file.write(compiled)
    return len(rows)


def _is_compiled(path: str) -> bool:
    """Mecab's own check: the first number is the file's size, turned by a constant; the third says "user"."""
    with files.open_binary(path) as file:
        content = file.read()
    magic, _, kind = struct.unpack("<3I", content[:12]) if len(content) >= 72 else (0, 0, 0)
    return magic ^ _MAGIC == len(content) and kind == _USER


def _lines(path: str):
    for number, line in enumerate(files.read_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def _row(line: str, where: str, folder: str) -> list[str]:
    """A row of Mecab's own CSV: word, left id, right id, cost, and the dictionary's eight columns."""
    fields = [field.strip() for field in next(csv.reader([line]))]
    if not fields[0] or len(fields) > 4:
        raise InputError(f"{where}: expected word[,tag[,cost[,parts]]], but got {line!r}")
    word, tag, cost, parts = fields + ["", DEFAULT_TAG, str(DEFAULT_COST), ""][len(fields) :]
    if not cost.lstrip("-").isdigit() or not -32768 <= int(cost) <= 32767:
        raise InputError(f"{where}: expected a cost from -32768 to 32767, but got {cost!r}")
    final = _final(word)
    left, right = _context_ids(folder, tag, final)
    if left is None or right is None:
        raise InputError(f"{where}: {tag!r} is no tag of the dictionary in {folder}")
    kind = "Compound" if parts else "*"
    return [word, left, right, cost, tag, "*", final, word, kind, "*", "*", parts or "*"]


def _final(word: str) -> str:
    """T if the last syllable has a final consonant, F if not, * if it is no syllable."""
    return ("F" if (ord(word[-1]) - 0xAC00) % 28 == 0 else "T") if "가" <= word[-1] <= "힣" else "*"


def _context_ids(folder: str, tag: str, final: str) -> tuple[str | None, str | None]:
    left = _ids(f"{folder}/left-id.def")
    right = _ids(f"{folder}/right-id.def")
    plain = f"{tag},*,*,*,*,*,*,*"
    return left.get(plain), right.get(f"{tag},*,{final},*,*,*,*,*", right.get(plain))


def _ids(path: str) -> dict[str, str]:
    pairs = (line.split(" ", 1) for line in files.read_lines(path) if line.strip())
    return {feature: number for number, feature in pairs}


def _compile(rows: list[list[str]], dictionary: pathlib.Path, work: pathlib.Path) -> bytes:
    for name in _FILES:
        os.symlink(dictionary / _OTHER_SIDE.get(name, name), work / name)
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(rows)
    (work / "words.csv").write_text(content.getvalue(), encoding="utf-8")
    options = ["-d", str(work), "-u", str(work / "user.dic"), "-f", "utf-8", "-t", "utf-8", str(work / "words.csv")]
    command = [sys.executable, "-c", _COMPILER, _library(), "mecab-dict-index", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if not (work / "user.dic").exists():
        raise InputError(
            f"Mecab could not compile the user dictionary: {(result.stdout + result.stderr).strip()[-300:]}"
        )
    return (work / "user.dic").read_bytes()


def _library() -> str:
    """MeCab's library in the wheel of mecab-python3."""
    import MeCab

    site = pathlib.Path(MeCab.__file__).parent.parent
    found = sorted([*site.glob("mecab_python3.libs/libmecab*"), *site.glob("MeCab/.dylibs/libmecab*")])
    if not found:
        raise InputError(f"expected the library libmecab beside mecab-python3 in {site}, but there is none")
    return str(found[0])
