"""Korean morphemes with Mecab: finding the dictionary, reading an analysis, and the character offsets of each morpheme.

The binding is mecab-python3 (the main line of MeCab, statically linked) with the mecab-ko dictionary that the pip
package `python-mecab-ko-dic` brings. The mecab-ko fork weighs spaces differently and segments 0.25 to 0.5 % of the
morphemes in another way. It is not used; the analyser's fingerprint records what is.

MeCab has pitfalls, which this module hides from its callers: NUL ends its input, a run of 65,535 spaces overflows, a
long run without a space costs quadratic time, its offsets are in bytes, and `parseToNode` is not thread-safe. So text
is normalised first and parsed in bounded chunks with `Tagger.parse` (which holds the GIL throughout). MeCab writes
`%M`, each morpheme with the spaces before it, so that cumulative lengths are the offsets in characters.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import itertools
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kobert_tf2 import arguments
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.normalization import Normalizer
from kobert_tf2.tokenization.substitutes import readable

# The longest text passed to MeCab at once. A run without a space costs at most 4 us a character more (the cost is
# quadratic).
CHUNK = 4096
# After a cut inside a run without a space, this many characters before the cut are analysed again with what follows.
_OVERLAP = 64

_SYSTEM_FOLDERS = (
    "/usr/local/lib/mecab/dic/mecab-ko-dic",
    "/usr/lib/mecab/dic/mecab-ko-dic",
    "/usr/lib/x86_64-linux-gnu/mecab/dic/mecab-ko-dic",
    "/opt/homebrew/lib/mecab/dic/mecab-ko-dic",
    "/var/lib/mecab/dic/mecab-ko-dic",
)


class Morpheme(NamedTuple):
    """`text[start:end]` is the morpheme as written, `surface` the same normalised.

    `tag` is the dictionary's (NNG, JKO, VV+EP ...). `kind` and `expression` describe a morpheme made of several, as the
    dictionary does: ("Compound", "사과/NNG/*+나무/NNG/*"), ("Inflect", "가/VV/*+았었/EP/*"); otherwise they are empty.
    """

    surface: str
    tag: str
    start: int
    end: int
    kind: str = ""
    expression: str = ""


def spelled_parts(surface: str, expression: str) -> list[tuple[str, str]]:
    """[(surface, tag)] of the parts if they spell the surface exactly, otherwise []."""
    parts: list[Any] = [tuple(part.split("/")[:2]) for part in expression.split("+")]
    if any(len(part) != 2 or not part[0] for part in parts) or "".join(part[0] for part in parts) != surface:
        return []
    return parts


def read_feature(feature: str) -> tuple[str, str, str]:
    """(tag, kind, expression) from the dictionary's comma-separated feature."""
    fields = feature.split(",")
    fields += ["*"] * (8 - len(fields))
    kind, expression = fields[4], ",".join(fields[7:])
    return fields[0], "" if kind == "*" else kind, "" if expression == "*" else expression


class MorphemeAnalyser:
    """Mecab with a dictionary found by one rule, and with exact character offsets.

    `dictionary` is a folder with a compiled mecab-ko dictionary; without it `$MECAB_KO_DIC`, the pip package and the
    system's usual folders are tried in this order. `user_dictionary` is a compiled user dictionary (`mecab-dict-index
    -u`).
    """

    def __init__(self, dictionary: str | None = None, user_dictionary: str | None = None):
        dictionary = None if dictionary in (None, "") else arguments.path("dictionary", dictionary)
        self.dictionary, self.dictionary_source = find_dictionary(dictionary)
        user_dictionary = None if user_dictionary is None else arguments.path("user_dictionary", user_dictionary)
        self.user_dictionary = user_dictionary
        if user_dictionary is not None and not os.path.isfile(user_dictionary):
            raise InputError(f"{user_dictionary}: there is no such user dictionary for Mecab")
        self._given_dictionary = dictionary
        self._taggers: dict[str, Any] = {}
        self._normalizer = Normalizer()

    def __reduce__(self) -> tuple:
        return type(self), (self._given_dictionary, self.user_dictionary)

    def analyse(self, text: str) -> list[Morpheme]:
        """All morphemes of any string in order, with offsets in characters of `text` as given."""
        normalized = self._normalizer(text)
        morphemes, end = [], 0
        for key in self.keys(normalized.text, features=True):
            spaced, feature = key.split("\t", 1)
            surface = spaced.lstrip(" ")
            end += len(spaced)
            tag, kind, expression = read_feature(feature)
            morphemes.append(Morpheme(surface, tag, *normalized.span(end - len(surface), end), kind, expression))
        return morphemes

    def parts(self, morpheme: Morpheme) -> list[Morpheme]:
        """The parts of a compound with their own offsets, where they spell it exactly; otherwise the morpheme alone."""
        parts = spelled_parts(morpheme.surface, morpheme.expression)
        if len(parts) < 2 or morpheme.end - morpheme.start != len(morpheme.surface):
            return [morpheme]
        found, start = [], morpheme.start
        for surface, tag in parts:
            found.append(Morpheme(surface, tag, start, start + len(surface)))
            start += len(surface)
        return found

    def keys(self, text: str, *, features: bool = False) -> list[str]:
        """The morphemes of a normalised text, each with the spaces before it; with `features`, a tab and its feature
        follow.

        What stands before the tab adds up to the text (spaces at its end excepted).
        """
        parse = self._tagger(r"%M\t%H\n" if features else r"%M\n").parse
        read = readable(text)
        keys = _lines(parse(read)) if len(read) <= CHUNK else list(itertools.chain(*self._chunks(read, parse)))
        return keys if read is text else _spelled_as(text, keys)

    def lines_of_texts(self, texts: Sequence[str], *, features: bool = False) -> list[str]:
        """`keys` of several normalised texts, as MeCab writes them: one string per text, one line per key and an empty
        line at the end.
        """
        parse = self._tagger(r"%M\t%H\n" if features else r"%M\n").parse
        outputs = [
            parse(text)
            if len(text) <= CHUNK and readable(text) is text
            else _output_of(self.keys(text, features=features))
            for text in texts
        ]
        if None in outputs:
            raise RuntimeError("MeCab gave no analysis")
        if _ends_with_spaces("".join(outputs)):
            outputs = [_output_of(_lines(output)) for output in outputs]
        return outputs

    def _chunks(self, text: str, parse: Callable[[str], str]) -> Iterator[list[str]]:
        start, carried = 0, ""
        while start < len(text):
            end, in_a_run = _cut(text, start)
            keys = _lines(parse(text[start:end]))
            length = _length(keys)
            if in_a_run:
                # Drops the last morphemes before the cut: their analysis depends on what follows it.
                trusted = length - _OVERLAP
                while len(keys) > 1 and length > trusted:
                    length -= _length([keys.pop()])
                end = start + length
            spaces = text[start + length : end]
            if keys:
                keys[0] = carried + keys[0]
                carried = spaces
            else:
                carried += spaces
            yield keys
            start = end

    def _tagger(self, node_format: str) -> Any:
        if node_format not in self._taggers:
            self._taggers[node_format] = _new_tagger(self.dictionary, self.user_dictionary, node_format)
        return self._taggers[node_format]

    def fingerprint(self) -> dict:
        """Everything that decides an analysis: versions, dictionaries, and the analyses of fixed sentences.
        JSON-serialisable.
        """
        return {
            "binding": "mecab-python3",
            "binding_version": _version("mecab-python3"),
            "dictionary_version": _version("python-mecab-ko-dic") if self.dictionary_source == "pip" else "",
            "dictionary_entries": self._tagger(r"%M\n").dictionary_info().size,
            "user_dictionary": _sha256(self.user_dictionary) if self.user_dictionary else "",
            "sentences": [
                " ".join(f"{morpheme.surface}/{morpheme.tag}" for morpheme in self.analyse(sentence))
                for sentence in FIXED_SENTENCES
            ],
        }


# Sentences that other dictionaries, versions and forks of Mecab segment differently: the fingerprint holds their
# analyses.
FIXED_SENTENCES = (
    "아버지가 방에 들어가신다.",
    "사과나무를 심었다가 뽑아 버렸다.",
    "대한민국의 수도는 서울특별시이다.",
    "나는 학교에서 친구들과 축구를 했었지.",
    "1945년 8월 15일에 광복을 맞이하였다.",
    "이 영화 진짜 재밌음ㅋㅋㅋ 강추합니다!!",
    "끌려간 사람들을 위로하고자 세운 비석",
    "NAVER와 카카오의 주가가 3.5% 올랐다.",
    '그녀는 "괜찮아요"라고 말했지만 괜찮지 않았다.',
    "국립중앙박물관 앞에서 만나기로 약속했다.",
    "누가 뭐래도 난 내 갈 길을 간다.",
    "세종대왕께서 훈민정음을 창제하셨다.",
    "부산에서부터 서울까지 약 400km를 달렸다.",
    "어제 먹은 김치찌개가 너무 맛있었어요ㅠㅠ",
    "漢字와 ひらがな, café도 섞여 있다.",
    "그 회사는 인공지능반도체설계전문기업으로 알려졌다.",
    "할 수 있을 뿐만 아니라 해야만 한다.",
    "밥은커녕 물 한 모금도 못 마셨다고 한다.",
    "이순신(李舜臣)은 조선 중기의 무신이었다.",
    "안 예쁜 게 아니라 못 알아본 거라니까.",
)


def _lines(output: str | None) -> list[str]:
    """MeCab's lines without the empty one that ends the sentence."""
    if output is None:
        raise RuntimeError("MeCab gave no analysis")
    lines = output.split("\n")[:-2]
    return _spaces_moved(lines) if _ends_with_spaces(output) else lines


def _output_of(lines: list[str]) -> str:
    """The inverse of `_lines`."""
    return "\n".join([*lines, "", ""])


def _ends_with_spaces(output: str) -> bool:
    """Whether any morpheme ends with a space; see `_spaces_moved`."""
    return " \n" in output or " \t" in output


def _spaces_moved(lines: list[str]) -> list[str]:
    """Spaces at a morpheme's end go before the next one: the dictionary has an entry "캘리 ", with its space."""
    moved, spaces = [], ""
    for line in lines:
        spaced, tab, feature = line.partition("\t")
        bare = spaced.rstrip(" ")
        moved.append(spaces + bare + tab + feature)
        spaces = spaced[len(bare) :]
    return moved


def _spelled_as(text: str, keys: list[str]) -> list[str]:
    """Keys of `readable(text)` with the characters of the text itself."""
    spelled, start = [], 0
    for key in keys:
        spaced, tab, feature = key.partition("\t")
        spelled.append(text[start : start + len(spaced)] + tab + feature)
        start += len(spaced)
    return spelled


def _length(keys: list[str]) -> int:
    return sum(len(key.partition("\t")[0]) for key in keys)


def _cut(text: str, start: int) -> tuple[int, bool]:
    """Where the chunk that begins at `start` ends, and whether that is inside a run without a space.

    The best place is a sentence's end in the second half of the chunk, then the last space.
    """
    limit = start + CHUNK
    if limit >= len(text):
        return len(text), False
    sentence = max(text.rfind(mark, start + CHUNK // 2, limit) for mark in (". ", "? ", "! "))
    if sentence >= 0:
        return sentence + 1, False
    space = text.rfind(" ", start + 1, limit)
    return (space, False) if space >= 0 else (limit, True)


# --- Finding the dictionary ---


def find_dictionary(given: str | None = None) -> tuple[str, str]:
    """(folder, where it was found: "argument", "MECAB_KO_DIC", "pip" or "system"). One error lists all places tried."""
    tried = []
    for folder, source in _candidates(given):
        if os.path.isfile(os.path.join(folder, "sys.dic")):
            return folder, source
        tried.append(f"{folder} ({source})")
        if source in ("argument", "MECAB_KO_DIC"):
            break
    raise InputError(
        f"no mecab-ko dictionary (a folder with sys.dic) found; tried {', '.join(tried)}; "
        "type: pip install python-mecab-ko-dic"
    )


def _candidates(given: str | None) -> Iterator[tuple[str, str]]:
    if given:
        yield os.fspath(given), "argument"
    if os.environ.get("MECAB_KO_DIC"):
        yield os.environ["MECAB_KO_DIC"], "MECAB_KO_DIC"
    yield _pip_dictionary(), "pip"
    for folder in _SYSTEM_FOLDERS:
        yield folder, "system"


def _pip_dictionary() -> str:
    spec = importlib.util.find_spec("mecab_ko_dic")
    if spec is None or spec.origin is None:
        return "the pip package python-mecab-ko-dic, which is not installed"
    return os.path.join(os.path.dirname(spec.origin), "dictionary")


def _in_utf_8(arguments: str) -> str:
    """Arguments that mecab-python3 can encode: under LC_ALL=C Python decodes UTF-8 paths with surrogate escapes."""
    try:
        return os.fsencode(arguments).decode("utf-8")
    except UnicodeError:
        raise InputError(f"{arguments!r}: MeCab takes paths in UTF-8 alone; move the dictionary elsewhere") from None


def _new_tagger(dictionary: str, user_dictionary: str | None, node_format: str) -> Any:
    try:
        import MeCab
    except ImportError as error:
        raise InputError(f"mecab-python3 cannot be imported ({error}); type: pip install mecab-python3") from None
    # -r is given explicitly: without it MeCab looks for a mecabrc of the system, and fails where there is none.
    arguments = ["-r", os.path.join(dictionary, "dicrc"), "-d", dictionary]
    with contextlib.ExitStack() as opened:
        if user_dictionary:
            if "," in user_dictionary:  # MeCab would take it for several; it has read the file when the tagger is made.
                file = opened.enter_context(open(user_dictionary, "rb"))
                user_dictionary = f"/proc/self/fd/{file.fileno()}"
            arguments += ["-u", user_dictionary]
        arguments += [f"--node-format={node_format}", r"--eos-format=\n"]
        try:
            return MeCab.Tagger(_in_utf_8(shlex.join(arguments)))
        except RuntimeError as error:
            raise InputError(f"{dictionary}: Mecab cannot open this dictionary ({str(error).strip()[:300]})") from None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
