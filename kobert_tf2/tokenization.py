"""Text to WordPieces, each with its place in the original string.

A string goes through three steps: it is normalised (`normalization.py`), cut into words (Mecab's morphemes, or BERT's
own words), and each word is cut into pieces of the vocabulary, greedily, longest first. The result of the last step
depends on the word alone, so it is looked up in a cache: a word is a "key", its text with the spaces before it (and
Mecab's feature, where a setting needs it), and the lengths of the keys add up to the offsets. Nothing else is done
per token.
"""

import functools
import hashlib
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.morphemes import MorphemeAnalyser, read_feature, spelled_parts
from kobert_tf2.normalization import Normalizer, character_class, code_points

VOCAB_FILE = "vocab.txt"
CONFIG_FILE = "tokenizer_config.json"
# BERT's rule: a longer word is one [UNK].
MAX_WORD_LENGTH = 100
_CACHE_LIMIT = 500_000
_SPECIAL_NAMES = ("PAD", "UNK", "CLS", "SEP", "MASK")


class Token(NamedTuple):
    """A piece of the vocabulary that stands for `text[start:end]`."""

    piece: str
    id: int
    start: int
    end: int


class Word(NamedTuple):
    """What WordPiece cuts: a morpheme (or a part of one), or a word of plain BERT. `begins` tells whether it begins
    an eojeol.
    """

    surface: str
    tag: str
    start: int
    end: int
    begins: bool


class Tokenizer:
    """Korean text to WordPieces.

    `vocab` is a path of a `vocab.txt`, a list of pieces, or a dict {piece: id}. The settings:

    - `pre_tokenizer`: "mecab", or "none" for plain BERT
    - `continuation`: "eojeol", every piece that does not begin one carries ##, or "morpheme", only those inside
    - `tags`: a piece carries its tag, 사과나무/NNG
    - `decompose_compounds`: 사과나무 -> 사과 ##나무
    - `do_lower_case`, `strip_accents`: separate switches that leave Hangul whole
    - `dictionary`, `user_dictionary`: Mecab's; see `MorphemeAnalyser`
    """

    def __init__(
        self,
        vocab: str | os.PathLike | Sequence[str] | dict[str, int],
        *,
        pre_tokenizer: str = "mecab",
        continuation: str = "eojeol",
        tags: bool = False,
        decompose_compounds: bool = False,
        do_lower_case: bool = False,
        strip_accents: bool = False,
        dictionary: str | None = None,
        user_dictionary: str | None = None,
    ):
        _one_of("pre_tokenizer", pre_tokenizer, ("mecab", "none"))
        _one_of("continuation", continuation, ("eojeol", "morpheme"))
        self.vocab = _read_vocab(vocab)
        self.pre_tokenizer = pre_tokenizer
        self.continuation = continuation
        self.tags = bool(tags)
        self.decompose_compounds = bool(decompose_compounds)
        self.do_lower_case = bool(do_lower_case)
        self.strip_accents = bool(strip_accents)
        self.dictionary = dictionary
        self.user_dictionary = user_dictionary
        if pre_tokenizer == "none" and (tags or decompose_compounds):
            raise InputError(
                "tags and decompose_compounds need morphemes: expected pre_tokenizer='mecab', but it is 'none'"
            )
        self._source = os.fspath(vocab) if isinstance(vocab, str | os.PathLike) else "vocabulary"
        self._find_special_tokens()
        self._build_lookup()
        self.analyser = MorphemeAnalyser(dictionary, user_dictionary) if pre_tokenizer == "mecab" else None
        self._normalizer = Normalizer(lower_case=do_lower_case, strip_accents=strip_accents)
        self._features = self.tags or self.decompose_compounds
        self._pieces_of = _Cache(self._cut_key)
        self._ids_of = _Cache(lambda key: tuple(piece[1] for piece in self._pieces_of[key][1]))

    def __reduce__(self):
        return functools.partial(type(self), **self.settings()), (self.vocab,)

    # --- The vocabulary ---

    def _find_special_tokens(self) -> None:
        found = {name: _find_special(self.vocab, name) for name in _SPECIAL_NAMES}
        missing = [f"[{name}]" for name, token in found.items() if token is None]
        if missing:
            raise InputError(
                f"{self._source}: expected the special tokens {' '.join(f'[{n}]' for n in _SPECIAL_NAMES)} "
                f"(or <CLS> style), but {' '.join(missing)} is missing"
            )
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = found.values()
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self.vocab[t] for t in found.values())
        self.special_ids = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}

    def _build_lookup(self) -> None:
        """Pieces that begin a word and pieces that go on with one, the latter without their ##.

        Special tokens are in neither: text that spells "[MASK]" must not become one. Neither is "##x" a beginning.
        """
        self._pieces = _in_order(self.vocab, self._source)
        self.is_continuation = np.array([piece.startswith("##") and len(piece) > 2 for piece in self._pieces])
        ordinary = {piece: i for piece, i in self.vocab.items() if i not in self.special_ids}
        self._initial = {piece: i for piece, i in ordinary.items() if not piece.startswith("##")}
        self._inner = {piece[2:]: i for piece, i in ordinary.items() if piece.startswith("##") and len(piece) > 2}
        self._longest = max((len(piece) for piece in self.vocab), default=1)

    def convert_tokens_to_ids(self, pieces: Iterable[str]) -> list[int]:
        """Ids of pieces; a piece outside the vocabulary is the unknown token's id."""
        return [self.vocab.get(piece, self.unk_id) for piece in pieces]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Pieces of ids; an id outside the vocabulary is an `InputError`."""
        try:
            return [self._pieces[_not_negative(i)] for i in ids]
        except IndexError as error:
            raise InputError(f"expected ids from 0 to {len(self._pieces) - 1}, but got {error}") from None

    # --- Text to tokens ---

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text."""
        return [self._pieces[i] for i in self.encode_ids(text)]

    def encode_ids(self, text: str) -> list[int]:
        """The ids of a text's pieces, without special tokens."""
        normalized = self._normalizer(text)
        if normalized.starts is not None and normalized.seams():
            return [token.id for token in self.encode(text)]
        ids_of = self._ids_of
        return list(itertools.chain.from_iterable([ids_of[key] for key in self._keys(normalized.text)[0]]))

    def encode(self, text: str) -> list[Token]:
        """The tokens of a text, in order, without special tokens; offsets are characters of `text` itself."""
        normalized = self._normalizer(text)
        tokens = self._tokens(*self._keys(normalized.text))
        if normalized.starts is None:
            return tokens
        starts, ends = normalized.starts, normalized.ends
        tokens = self._joined_at_seams(tokens, normalized.seams())
        return [Token(piece, i, starts[start], ends[end - 1]) for piece, i, start, end in tokens]

    def encode_batch(self, texts: Iterable[str], *, num_workers: int = 1) -> list[list[Token]]:
        """`encode` of every text, in order, by `num_workers` processes."""
        return [self.encode(text) for text in texts]

    def encode_ids_batch(self, texts: Iterable[str], *, num_workers: int = 1) -> list[list[int]]:
        """`encode_ids` of every text, in order, by `num_workers` processes."""
        return [self.encode_ids(text) for text in texts]

    def pre_tokenize(self, text: str) -> list[Word]:
        """The words that WordPiece cuts, with offsets into `text` and whether each begins an eojeol."""
        normalized = self._normalizer(text)
        keys, position = self._keys(normalized.text)
        words = []
        for key in keys:
            spaced = key.partition("\t")[0]
            for surface, tag, start, begins, _ in self._words_of_key(key):
                span = normalized.span(position + start, position + start + len(surface))
                words.append(Word(surface, tag, *span, begins))
            position += len(spaced)
        return words

    def _keys(self, text: str) -> tuple[list[str], int]:
        """Words with the spaces before them, and where the first one begins.

        The beginning of a text begins an eojeol: it is given the space that it lacks, and begins at -1.
        """
        keys = (
            _plain_words().findall(text) if self.analyser is None else self.analyser.keys(text, features=self._features)
        )
        if not keys or keys[0][0] == " ":
            return keys, 0
        keys[0] = " " + keys[0]
        return keys, -1

    def _tokens(self, keys: list[str], position: int) -> list[Token]:
        """Tokens with offsets into the normalised text."""
        pieces_of = self._pieces_of
        tokens = []
        for key in keys:
            length, pieces = pieces_of[key]
            for piece, i, start, end in pieces:
                tokens.append(Token(piece, i, position + start, position + end))
            position += length
        return tokens

    def _joined_at_seams(self, tokens: list[Token], seams: set[int]) -> list[Token]:
        """Tokens that share an original character (one that NFC or lower-casing writes as two) become one [UNK]."""
        joined: list[Token] = []
        for token in tokens:
            if joined and token.start == joined[-1].end and token.start in seams:
                joined[-1] = Token(self.unk_token, self.unk_id, joined[-1].start, token.end)
            else:
                joined.append(token)
        return joined

    # --- One key to its pieces: what the caches hold ---

    def _cut_key(self, key: str) -> tuple[int, tuple[tuple[str, int, int, int], ...]]:
        """(length of the key in the text, its pieces with offsets from the key's beginning)."""
        pieces = []
        for surface, tag, start, _, continues in self._words_of_key(key):
            pieces += self._cut_word(surface, tag, start, continues)
        return len(key.partition("\t")[0]), tuple(pieces)

    def _words_of_key(self, key: str) -> list[tuple[str, str, int, bool, bool]]:
        """(surface, tag, start in the key, begins an eojeol, continues: its first piece carries ##) of each word in a
        key.
        """
        spaced, _, feature = key.partition("\t")
        if self.analyser is None:
            surface = spaced.lstrip(" ")
            return [(surface, "", len(spaced) - len(surface), surface != spaced, False)]
        tag, kind, expression = read_feature(feature) if feature else ("", "", "")
        parts = spelled_parts(spaced.lstrip(" "), expression) if self.decompose_compounds and kind == "Compound" else []
        words, end = [], len(spaced) - len(spaced.lstrip(" "))
        for order, (part, part_tag) in enumerate(parts or [(spaced.lstrip(" "), tag)]):
            for match in re.finditer("[^ ]+", part):
                begins = (end > 0 and order == 0) or match.start() > 0
                continues = not begins and (self.continuation == "eojeol" or order > 0)
                words.append((match.group(), part_tag if self.tags else "", end + match.start(), begins, continues))
            end += len(part)
        return words

    def _cut_word(self, word: str, tag: str, offset: int, continues: bool) -> list[tuple[str, int, int, int]]:
        """WordPiece: the longest piece that fits, again and again; what cannot be cut is one [UNK]."""
        unknown = [(self.unk_token, self.unk_id, offset, offset + len(word))]
        if len(word) > MAX_WORD_LENGTH:
            return unknown
        pieces, start = [], 0
        while start < len(word):
            found = self._longest_piece(word, tag, start, self._inner if continues or start else self._initial)
            if found is None:
                return unknown
            i, end = found
            pieces.append((self._pieces[i], i, offset + start, offset + end))
            start = end
        return pieces

    def _longest_piece(self, word: str, tag: str, start: int, lookup: dict[str, int]) -> tuple[int, int] | None:
        """(id, end) of the longest piece at `start`: with its tag if the vocabulary has one, otherwise without."""
        for suffix in (f"/{tag}", "") if tag else ("",):
            for end in range(min(len(word), start + self._longest), start, -1):
                i = lookup.get(word[start:end] + suffix)
                if i is not None:
                    return i, end
        return None

    # --- Settings, and a tokenizer as files ---

    def settings(self) -> dict:
        """The keyword arguments that make this tokenizer again from its vocabulary; JSON can hold them."""
        return {name: getattr(self, name) for name in SETTINGS}

    def fingerprint(self) -> str:
        """A hash of everything that decides the ids: vocabulary, settings, analyser."""
        settings = {k: v for k, v in self.settings().items() if k not in ("dictionary", "user_dictionary")}
        analyser = self.analyser.fingerprint() if self.analyser else None
        content = json.dumps([self._pieces, settings, analyser], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def save_pretrained(self, path: str) -> None:
        """Writes `vocab.txt` and `tokenizer_config.json` into a folder, new or there already."""
        with files.whole_folder(path, overwrite=True) as folder:
            with files.whole_file(os.path.join(folder, VOCAB_FILE)) as file:
                file.writelines(f"{piece}\n" for piece in self._pieces)
            files.write_json(os.path.join(folder, CONFIG_FILE), self._config())

    def _config(self) -> dict:
        special = {"pad_token": self.pad_token, "unk_token": self.unk_token, "cls_token": self.cls_token}
        special |= {"sep_token": self.sep_token, "mask_token": self.mask_token}
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": True,
            **special,
            "kobert_tf2": {"settings": self.settings(), "fingerprint": self.fingerprint()},
        }

    @classmethod
    def from_pretrained(cls, path: str) -> "Tokenizer":
        """Reads a folder with `vocab.txt` and, where it is there, `tokenizer_config.json`."""
        config_path = os.path.join(path, CONFIG_FILE)
        config = files.read_json(config_path) if files.exists(config_path) else {}
        settings = config.get("kobert_tf2", {}).get("settings") or {
            "pre_tokenizer": "none",
            "do_lower_case": bool(config.get("do_lower_case", False)),
            "strip_accents": bool(config.get("strip_accents") or False),
        }
        return cls(os.path.join(path, VOCAB_FILE), **settings)


SETTINGS = (
    "pre_tokenizer",
    "continuation",
    "tags",
    "decompose_compounds",
    "do_lower_case",
    "strip_accents",
    "dictionary",
    "user_dictionary",
)


class _Cache(dict):
    """A dict that computes what it lacks. It empties itself when it is full: what is frequent is back at once."""

    def __init__(self, compute):
        self._compute = compute

    def __missing__(self, key):
        if len(self) >= _CACHE_LIMIT:
            self.clear()
        value = self[key] = self._compute(key)
        return value


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}. Received: {value!r}")


def _not_negative(i: int) -> int:
    if i < 0:
        raise IndexError(i)
    return i


def _read_vocab(vocab) -> dict[str, int]:
    from kobert_tf2 import vocabulary

    if isinstance(vocab, str | os.PathLike):
        return vocabulary.load(os.fspath(vocab))
    return dict(vocab) if isinstance(vocab, dict) else vocabulary.check(vocab)


def _in_order(vocab: dict[str, int], source: str) -> list[str]:
    pieces = sorted(vocab, key=vocab.__getitem__)
    for expected, piece in enumerate(pieces):
        if vocab[piece] != expected:
            raise InputError(
                f"{source}: expected ids 0 to {len(vocab) - 1}, each once, but {piece!r} has {vocab[piece]}"
            )
    return pieces


def _find_special(vocab: dict[str, int], name: str) -> str | None:
    styles = (f"[{name}]", f"<{name}>", f"[{name.lower()}]", f"<{name.lower()}>")
    return next((token for token in styles if token in vocab), None)


# --- Words of plain BERT: white space, punctuation and ideographs stand alone ---

_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


@functools.cache
def _plain_words() -> re.Pattern:
    """A word with the spaces before it, for `findall`."""
    alone = {code for first, last in _IDEOGRAPHS for code in range(first, last + 1)}
    alone.update(code for code in code_points() if _is_punctuation(chr(code)))
    single = character_class(sorted(alone))
    return re.compile(f" *(?:[^ {single}]+|[{single}])")


def _is_punctuation(char: str) -> bool:
    """BERT's: everything of ASCII that is no letter, digit or space, and Unicode's P categories."""
    if char < "\x80":
        return "!" <= char <= "~" and not char.isalnum()
    return unicodedata.category(char).startswith("P")
