"""Compiles a Mecab user dictionary from a list of words, with the pip packages alone.

mecab-python3 does not include MeCab's `mecab-dict-index`, which refuses the mecab-ko dictionary anyway: it compares the
number of left ids with the wrong side of the connection matrix, which is not square there (3,822 by 2,693). So the
compiler inside the wheel's library is called, in a subprocess (it exits on errors), on a folder in which the two lists
of ids are swapped. Every word comes with its ids, so the lists are used for this comparison alone.
"""

import csv
import io
import itertools
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.mecab import find_dictionary, spelled_parts
from kobert_tf2.tokenization.normalization import Normalizer, is_blank
from kobert_tf2.tokenization.substitutes import readable

DEFAULT_TAG = "NNP"
# Low, so that a listed word is preferred to the dictionary's own analysis.
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
    words_file: str,
    output: str,
    *,
    dictionary: str | None = None,
    do_lower_case: bool = False,
    strip_accents: bool = False,
    overwrite: bool = False,
) -> int:
    """Compiles a list of words for `MorphemeAnalyser(user_dictionary=output)`; returns how many there are.

    A line is `word`, `word,tag`, `word,tag,cost` or `word,tag,cost,parts` (parts as in the dictionary,
    사과/NNG/*+나무/NNG/*); the tag is NNP where none is given. Empty lines and lines that begin with # are skipped.
    Words are normalised as texts are (NFC, no zero-width characters); how many changed is reported on standard error.
    An existing user dictionary is replaced only with `overwrite`, any other file never.

    Give `do_lower_case` and `strip_accents` the values of the tokenizer that will use the dictionary: such a tokenizer
    analyses GaonBERT as gaonbert, and only an entry that is spelled so is found.

    Raises:
      InputError: lines that are no such entry; all are counted, the first ten listed.
    """
    outputs.refuse_inputs({"output": output}, {"words_file": words_file, "dictionary": dictionary})
    outputs.check_file(output, what="a compiled Mecab user dictionary", is_ours=_is_compiled, overwrite=overwrite)
    folder, _ = find_dictionary(dictionary)
    normalize = Normalizer(lower_case=do_lower_case, strip_accents=strip_accents)
    rows = _rows(words_file, folder, normalize)
    if not rows:
        raise InputError(f"{words_file}: expected a word a line, but there is none")
    with tempfile.TemporaryDirectory() as work:
        compiled = _compile(rows, pathlib.Path(folder), pathlib.Path(work))
    with files.whole_file(output, "wb") as file:
        file.write(compiled)
    return len(rows)


def _is_compiled(path: str) -> bool:
    """MeCab's own check: the first number is the file's size xor a constant; the third says "user"."""
    with files.open_binary(path) as file:
        content = file.read()
    magic, _, kind = struct.unpack("<3I", content[:12]) if len(content) >= 72 else (0, 0, 0)
    return magic ^ _MAGIC == len(content) and kind == _USER


def _rows(path: str, folder: str, normalize: Normalizer) -> list[list[str]]:
    """A row of Mecab's own CSV for each word: word, left id, right id, cost, and the dictionary's eight columns."""
    left, right = _ids(f"{folder}/left-id.def"), _ids(f"{folder}/right-id.def")
    bad_lines, respelled = files.BadLines(path), []
    rows = []
    for number, line in enumerate(files.read_lines(path, bad_lines), start=1):
        if is_blank(line) or line.startswith("#"):
            continue
        normalized = _normalize(line).text
        respelled += [number] if normalized.split() != line.split() else []
        try:
            word, tag, cost, parts = _fields(normalized, line)
            parts = "+".join(f"{normalize(part).text}/{tag}/*" for part, tag in spelled_parts(word, parts))
            word = normalize(word).text
            features = [tag, "*", _final(word), word, "Compound" if parts else "*", "*", "*", parts or "*"]
            rows.append([word, *_context_ids(left, right, tag, word), cost, *features])
        except _EntryError as error:
            bad_lines.add(number, str(error))
    bad_lines.raise_if_any()
    if respelled:
        print(
            f"{path}: {len(respelled):,} words were not in NFC or had zero-width characters, and are compiled without "
            f"(the first in line {respelled[0]})",
            file=sys.stderr,
        )
    return rows


_normalize = Normalizer()


class _EntryError(ValueError):
    """What is wrong with a line of the list."""


def _fields(normalized: str, line: str) -> tuple[str, str, str, str]:
    """Word, tag, cost and parts, checked; `line` is what the user wrote."""
    try:
        fields = [field.strip() for field in next(csv.reader([normalized]))]
    except csv.Error as error:
        raise _EntryError(f"expected word[,tag[,cost[,parts]]], but {error}") from None
    if len(fields) > 4 or not fields[0]:
        raise _EntryError(f"expected word[,tag[,cost[,parts]]], but got {line[:80]!r}")
    word, tag, cost, parts = (given or default for given, default in itertools.zip_longest(fields, _DEFAULTS))
    if " " in word:
        raise _EntryError(f"expected a word without blanks, but {word!r} has {_blank_of(line)}")
    if len(word) > _LONGEST_WORD:
        raise _EntryError(f"expected a word of at most {_LONGEST_WORD} characters, but this one has {len(word):,}")
    if not re.fullmatch("-?[0-9]{1,5}", cost) or not -32768 <= int(cost) <= 32767:
        raise _EntryError(f"expected a cost from -32768 to 32767, but got {cost!r}")
    if parts and not spelled_parts(word, parts):
        raise _EntryError(f"expected parts that spell {word!r}, such as 사과/NNG/*+나무/NNG/*, but got {parts!r}")
    return word, tag, cost, parts


def _blank_of(line: str) -> str:
    """The first white space within a line, by its name."""
    blank = next(char for char in line.strip() if _normalize(char).text == " ")
    if blank == "\t":
        return "a tab; columns are separated by commas"
    return "a space" if blank == " " else f"U+{ord(blank):04X} ({unicodedata.name(blank, 'white space')})"


_DEFAULTS = ("", DEFAULT_TAG, str(DEFAULT_COST), "")
# BERT's WordPiece takes no longer word; Mecab's compiler reads lines of 8,192 bytes.
_LONGEST_WORD = 100


def _final(word: str) -> str:
    """T if the last syllable has a final consonant, F if not, * if the last character is no syllable."""
    return ("F" if (ord(word[-1]) - 0xAC00) % 28 == 0 else "T") if "가" <= word[-1] <= "힣" else "*"


def _context_ids(left: dict[str, str], right: dict[str, str], tag: str, word: str) -> tuple[str, str]:
    """The left and right context ids of a word with this tag.

    There is no right context for a name that does not end in a syllable (K9, C++): such a name is treated as one
    without a final consonant. Foreign words (SL) have no context at all: the dictionary itself gives them that of
    nouns.
    """
    before = left.get(f"{tag},*,*,*,*,*,*,*")
    tag_after = "NNG" if tag == "SL" else tag
    after = (right.get(f"{tag_after},*,{final},*,*,*,*,*") for final in dict.fromkeys((_final(word), "*", "F")))
    found = next(filter(None, after), None)
    if before is None or found is None:
        raise _EntryError(f"{tag!r} is no tag that the dictionary has for words of a list, such as NNP or NNG")
    return before, found


def _ids(path: str) -> dict[str, str]:
    pairs = (line.split(" ", 1) for line in files.read_lines(path) if line.strip())
    return {feature: number for number, feature in pairs}


def _compile(rows: list[list[str]], dictionary: pathlib.Path, work: pathlib.Path) -> bytes:
    for name in _FILES:
        os.symlink(dictionary / _OTHER_SIDE.get(name, name), work / name)
    content = io.StringIO()
    # A word with ㆍ must match a text in which Mecab reads a substitute.
    csv.writer(content, lineterminator="\n").writerows([readable(word), *rest] for word, *rest in rows)
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
