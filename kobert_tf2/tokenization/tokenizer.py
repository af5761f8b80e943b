"""Text to pieces of a vocabulary, each with its place in the original string.

A text is first cut at its added tokens (`added_tokens.py`), where there are any. With a SentencePiece model the rest is
that model's work (`sentencepiece.py`). Otherwise it is WordPiece: a string is normalised (`normalization.py`), cut into
words (`words.py`), and each word into pieces (`wordpiece.py`). What a word becomes depends on its key alone, so it is
kept in a table (`word_cache.py`), from which the tokens of a whole block of texts are looked up and laid out at once
(`encoding.py`).
"""

import contextlib
import functools
import gc
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from kobert_tf2 import arguments, files
from kobert_tf2.errors import InputError
from kobert_tf2.parallel import ordered_map
from kobert_tf2.tokenization import decoding, model_inputs, pretrained, vocab_file
from kobert_tf2.tokenization.added_tokens import AddedToken, AddedTokens, added_token, encode_around, words_around
from kobert_tf2.tokenization.encoding import EOJEOL, WORD, Encoding, Encodings, laid_out
from kobert_tf2.tokenization.mecab import MorphemeAnalyser
from kobert_tf2.tokenization.normalization import Normalized
from kobert_tf2.tokenization.sentencepiece import SPACE, SentencePieceModel
from kobert_tf2.tokenization.word_cache import PieceLists, PieceTable, packed_ids, starts_of
from kobert_tf2.tokenization.wordpiece import WordPiece
from kobert_tf2.tokenization.words import Segmenter, Word

SPECIAL_NAMES = ("PAD", "UNK", "CLS", "SEP", "MASK")
_CHARACTERS_PER_BLOCK = 200_000
# Characters up to which the tokens of one text are found one by one, without arrays.
_LONG_TEXT = 4_000


class Tokenizer:
    """Korean text to the pieces of a vocabulary.

    `vocab` is a path of a `vocab.txt`, a list of pieces, a dict {piece: id}, or None for the pieces of a SentencePiece
    model under its own ids. The settings:

    - `pre_tokenizer`: "mecab", "none" for plain BERT, or "sentencepiece" for `sentencepiece_model`, a `.model` file
    - `continuation`: "eojeol", every piece that does not begin one carries ##, or "morpheme", only those inside
    - `tags`: a piece carries its tag, 사과나무/NNG
    - `decompose_compounds`: 사과나무 -> 사과 ##나무
    - `do_lower_case`, `strip_accents`: separate switches that leave Hangul whole
    - `dictionary`, `user_dictionary`: Mecab's; see `MorphemeAnalyser`
    - `special_tokens`: {"cls_token": "[START]"}, where they are not called [PAD] [UNK] [CLS] [SEP] [MASK] or the like
    - `added_tokens`: pieces of the vocabulary that are found wherever they stand in a text: strings, or the fields of
      `AddedToken`
    """

    # Whether `save_pretrained` writes a tokenizer.json too, as where this one was read from had.
    has_tokenizer_file = False
    # From tokenizer_config.json: what a call without `max_length` truncates and pads to, whether `decode` tidies up.
    model_max_length: int | None = None
    clean_up_tokenization_spaces = False

    # Set by `_find_special_tokens`, which refuses a vocabulary that lacks one.
    pad_token: str
    unk_token: str
    cls_token: str
    sep_token: str
    mask_token: str
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    def __init__(
        self,
        vocab: str | os.PathLike | Sequence[str] | dict[str, int] | None,
        *,
        pre_tokenizer: str = "mecab",
        continuation: str = "eojeol",
        tags: bool = False,
        decompose_compounds: bool = False,
        do_lower_case: bool = False,
        strip_accents: bool = False,
        dictionary: str | None = None,
        user_dictionary: str | None = None,
        special_tokens: dict[str, str] | None = None,
        added_tokens: Iterable[str | dict | AddedToken] = (),
        sentencepiece_model: str | None = None,
    ):
        cutting: dict[str, Any] = {
            "pre_tokenizer": pre_tokenizer,
            "continuation": continuation,
            "tags": bool(tags),
            "decompose_compounds": bool(decompose_compounds),
            "do_lower_case": bool(do_lower_case),
            "strip_accents": bool(strip_accents),
            "dictionary": dictionary,
            "user_dictionary": user_dictionary,
        }
        self._settings = dict(cutting)
        self._sentencepiece = self._open_sentencepiece(sentencepiece_model)
        source = os.fspath(vocab) if isinstance(vocab, str | os.PathLike) else "vocabulary"
        self.vocab = self._read_vocab(vocab)
        self._pieces = _in_order(self.vocab, source)
        self._find_special_tokens(source, _checked_special_tokens(special_tokens))
        self._find_added_tokens(source, added_tokens)
        apart = [token.content for token in self.added_tokens if not token.is_piece]
        if self._sentencepiece is None:
            vocab_file.check_spelling(self.vocab, source)
            self.is_continuation = np.array([piece.startswith("##") and len(piece) > 2 for piece in self._pieces])
            self._wordpiece = WordPiece(
                self.vocab, unk_token=self.unk_token, special_tokens=(*self._special_tokens(), *apart)
            )
            self._segmenter = Segmenter(**cutting)
            self._table, self._lists = PieceTable(self._cut_key), PieceLists(self._cut_key)
        else:
            self.is_continuation = np.array(
                [not piece.startswith(SPACE) and i not in self.special_ids for piece, i in self.vocab.items()]
            )[np.argsort(list(self.vocab.values()))]
        self._added = AddedTokens(self.added_tokens, self._normalized) if self.added_tokens else None

    def __reduce__(self) -> tuple:
        return functools.partial(type(self), **self.settings()), (self.vocab,), self._beside_settings()

    def _beside_settings(self) -> dict[str, Any]:
        """What a tokenizer has from the folder that it was read from, and what is no argument of its constructor."""
        names = ("has_tokenizer_file", "model_max_length", "clean_up_tokenization_spaces")
        return {name: getattr(self, name) for name in names}

    @property
    def analyser(self) -> MorphemeAnalyser | None:
        """The `MorphemeAnalyser`; None where text is not cut into morphemes."""
        return self._segmenter.analyser if self._sentencepiece is None else None

    def _open_sentencepiece(self, path: str | None) -> SentencePieceModel | None:
        """The model, where the settings say so; settings that do not go together are an `InputError`."""
        settings, kinds = self._settings, ("sentencepiece", "mecab", "none")
        if settings["pre_tokenizer"] not in kinds:
            raise InputError(
                f"pre_tokenizer: expected one of {', '.join(kinds)}. Received: {settings['pre_tokenizer']!r}"
            )
        if (settings["pre_tokenizer"] == "sentencepiece") != (path is not None):
            raise InputError(
                "pre_tokenizer='sentencepiece' and sentencepiece_model go together. Received: "
                f"{settings['pre_tokenizer']!r} and {path!r}"
            )
        if path is None:
            return None
        wrong = [name for name in ("tags", "decompose_compounds", "strip_accents", "user_dictionary") if settings[name]]
        if wrong:
            raise InputError(f"{wrong[0]} cannot be had with pre_tokenizer='sentencepiece'")
        settings["sentencepiece_model"] = os.fspath(path)
        return SentencePieceModel(os.fspath(path), do_lower_case=settings["do_lower_case"])

    def _read_vocab(self, vocab: str | os.PathLike | Sequence[str] | dict[str, int] | None) -> dict[str, int]:
        if self._sentencepiece is None:
            return _read_vocab(vocab)
        pieces = self._sentencepiece.pieces()
        if vocab is None:
            return vocab_file.check(pieces, self._sentencepiece.path)
        known = _read_vocab(vocab)
        share = sum(piece in known for piece in pieces) / len(pieces)
        if share < 0.5:
            raise InputError(
                f"{vocab if isinstance(vocab, str) else 'vocabulary'}: has {share:.0%} of the pieces of "
                f"{self._sentencepiece.path}: expected the vocabulary of this model"
            )
        return known

    # --- The vocabulary ---

    def _find_special_tokens(self, source: str, given: dict[str, str]) -> None:
        wrong = next((token for token in given.values() if token not in self.vocab), None)
        if wrong is not None:
            raise InputError(f"{source}: expected the special token {wrong!r} in the vocabulary, but it is not there")
        usual = {name: _find_special(self.vocab, name) for name in SPECIAL_NAMES}
        found = {name: given.get(f"{name.lower()}_token", token) for name, token in usual.items()}
        unusual = {f"{name.lower()}_token": found[name] for name in SPECIAL_NAMES if found[name] != usual[name]}
        if unusual:
            self._settings["special_tokens"] = unusual
        missing = [f"[{name}]" for name, token in found.items() if token is None]
        if missing:
            raise InputError(
                f"{source}: expected the special tokens {' '.join(f'[{name}]' for name in SPECIAL_NAMES)} "
                f"(or <CLS> style), but {' '.join(missing)} is missing"
            )
        tokens = [token for token in found.values() if token is not None]  # all of them: none is missing
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = tokens
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            self.vocab[token] for token in self._special_tokens()
        )
        # The same ids under the names of transformers.
        self.pad_token_id, self.unk_token_id, self.cls_token_id = self.pad_id, self.unk_id, self.cls_id
        self.sep_token_id, self.mask_token_id = self.sep_id, self.mask_id
        self.special_ids = {self.vocab[token] for token in tokens}

    def _special_tokens(self) -> tuple[str, ...]:
        return self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token

    def _find_added_tokens(self, source: str, added_tokens: Iterable[str | dict | AddedToken]) -> None:
        """Special tokens of BERT's own are never found in a text, whatever it spells."""
        tokens = [token for token in map(added_token, added_tokens) if token.content not in self._special_tokens()]
        wrong = next((token.content for token in tokens if token.content not in self.vocab), None)
        if wrong is not None:
            raise InputError(f"{source}: expected the added token {wrong!r} in the vocabulary, but it is not there")
        if tokens:
            self._settings["added_tokens"] = [token._asdict() for token in tokens]

    @property
    def added_tokens(self) -> tuple[AddedToken, ...]:
        """The tokens that are found wherever they stand in a text."""
        return tuple(map(added_token, self._settings.get("added_tokens", ())))

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def vocab_size(self) -> int:
        """How many pieces there are, added tokens among them."""
        return len(self._pieces)

    def get_vocab(self) -> dict[str, int]:
        """{piece: id}, a copy."""
        return dict(self.vocab)

    @property
    def all_special_tokens(self) -> list[str]:
        """BERT's five, and the added tokens that are special; in the order of transformers."""
        own = (self.unk_token, self.sep_token, self.pad_token, self.cls_token, self.mask_token)
        return [*own, *(token.content for token in self.added_tokens if token.special)]

    @property
    def all_special_ids(self) -> list[int]:
        return [self.vocab[token] for token in self.all_special_tokens]

    @overload
    def convert_tokens_to_ids(self, pieces: str) -> int: ...  # type: ignore[overload-overlap]  # a string is strings

    @overload
    def convert_tokens_to_ids(self, pieces: Iterable[str]) -> list[int]: ...

    def convert_tokens_to_ids(self, pieces: str | Iterable[str]) -> int | list[int]:
        """Ids of pieces, or the id of one; a piece outside the vocabulary is the unknown token's id."""
        if isinstance(pieces, str):
            return self.vocab.get(pieces, self.unk_id)
        return [self.vocab.get(piece, self.unk_id) for piece in arguments.each_text("pieces", pieces)]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...

    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Pieces of ids, or the piece of one; an id outside the vocabulary is an `InputError`.

        With `skip_special_tokens` those of `all_special_ids` are left out of a list.
        """
        if not isinstance(ids, str | bytes | Iterable):
            return self._pieces_of([arguments.whole("ids", ids)])[0]
        kept = arguments.each_whole("ids", ids)
        pieces = self._pieces_of(kept)
        if not skip_special_tokens:
            return pieces
        special = set(self.all_special_ids)
        return [piece for i, piece in zip(kept, pieces, strict=True) if i not in special]

    def _pieces_of(self, ids: list[int]) -> list[str]:
        wrong = next((i for i in ids if not 0 <= i < len(self._pieces)), None)
        if wrong is not None:
            raise InputError(f"ids: expected ids from 0 to {len(self._pieces) - 1}. Received: {wrong}")
        return [self._pieces[i] for i in ids]

    def with_pieces(self, pieces: Iterable[str]) -> tuple["Tokenizer", dict[int, list[int]]]:
        """A tokenizer that knows `pieces` too, and for each new id the ids that its text was cut into before.

        A piece is a word as `vocab` would hold it, ## included where it continues a word. Pieces that the vocabulary
        has already are passed over; the new ones come after its last entry.
        """
        if self._sentencepiece is not None:
            raise InputError(f"{self._sentencepiece.path}: a SentencePiece model would never cut a new piece")
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self.vocab]
        for piece in new:
            if not piece.removeprefix("##") or any(character.isspace() for character in piece):
                raise InputError(f"a new piece must be a word without white space. Received: {piece!r}")
        vocab = {**self.vocab, **{piece: len(self.vocab) + i for i, piece in enumerate(new)}}
        larger = type(self)(vocab, **self.settings())
        vars(larger).update(self._beside_settings())
        return larger, {vocab[piece]: self._ids_within(piece) for piece in new}

    def _ids_within(self, piece: str) -> list[int]:
        """What the vocabulary cuts the text of a piece into; with tags, 사과나무/NNG is cut as a noun."""
        word, _, tag = piece.rpartition("/") if self.settings()["tags"] else (piece, "", "")
        cut = WordPiece(self.vocab, unk_token=self.unk_token).cut(
            word.removeprefix("##"), tag=tag, continues=word.startswith("##")
        )
        return [part.id for part in cut]

    # --- Text to the inputs of a model, and back ---

    def __call__(
        self,
        text: str | Iterable[str] | Iterable[tuple[str, str]],
        text_pair: str | Iterable[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
    ) -> dict[str, Any]:
        """A text, a pair of texts, or a list of either as a model reads them: the same as `transformers` gives for the
        folder of this tokenizer, under its names.

        Args:
            text, text_pair: strings, or lists of equal length; `text` may be a list of pairs.
            add_special_tokens: `[CLS] text [SEP]`, `[CLS] text [SEP] text_pair [SEP]`.
            padding: True or "longest" to the longest row, "max_length" to `max_length`, False for none.
            truncation: True or "longest_first", "only_first", "only_second", False for none. Not given: "longest_first"
                where a `max_length` is given without padding.
            max_length: tokens of a row, special tokens included; `model_max_length` where it is not given.
            pad_to_multiple_of: padding ends at the next multiple.
            return_tensors: "np", "tf" (int32) or "pt" (int64): arrays [rows, tokens], one row for a single text. None:
                lists.
            return_offsets_mapping: `offset_mapping` too, (start, end) in characters of the text that a token is of,
                (0, 0) for special tokens and padding. With every tokenizer, as `encode` has them.
            return_special_tokens_mask: `special_tokens_mask` too, 1 for special tokens and padding.

        Returns:
            `input_ids`, `token_type_ids` (0 for the first text, 1 for the second) and `attention_mask` (1 for tokens, 0
            for padding). Our models take these names and `input_ids`, `segment_ids`, `input_mask` alike.

        Raises:
            InputError, TypeError: with the name of the argument. What would cut a text to nothing is an error too.
        """
        model_inputs.check_tensors(return_tensors)
        made = model_inputs.row_format(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            add_special_tokens=add_special_tokens,
            model_max_length=self.model_max_length,
            is_plain=not pretrained.needs_own_code(self),
        )
        firsts, seconds, is_batch = model_inputs.texts_and_pairs(text, text_pair)
        rows = model_inputs.make_rows(
            self.encode_batch(firsts),
            None if seconds is None else self.encode_batch(seconds),
            made,
            model_inputs.SpecialIds(self.cls_id, self.sep_id, self.pad_id),
        )
        wanted = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        columns = {name: [getattr(row, name) for row in rows] for name, asked in wanted.items() if asked}
        if return_tensors is not None:
            return {name: model_inputs.as_tensors(values, name, return_tensors) for name, values in columns.items()}
        return columns if is_batch else {name: values[0] for name, values in columns.items()}

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """Readable text of ids: a list, an array, a tensor or one id. A list of lists gives a list of texts.

        `decoding.py` says what does not come back. With `skip_special_tokens` no [CLS], [SEP], [PAD], [MASK] or [UNK].
        """
        ids = _as_lists("token_ids", token_ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            return [self.decode(one, skip_special_tokens, clean_up_tokenization_spaces) for one in ids]
        pieces = self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids, skip_special_tokens)
        text = self.convert_tokens_to_string(pieces)
        tidies = clean_up_tokenization_spaces
        if tidies is None:
            tidies = self.clean_up_tokenization_spaces
        return decoding.clean_up(text) if tidies else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """`decode` of each of several lists of ids, or of the rows of an array."""
        rows = _as_lists("sequences", sequences)
        if not isinstance(rows, list):
            raise arguments.wrong_type("sequences", "lists of ids", sequences)
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Readable text of pieces; `decode` of their ids."""
        pieces = list(arguments.each_text("tokens", tokens))
        if self._sentencepiece is not None:
            return decoding.sentencepiece_text(pieces)
        if pretrained.needs_own_code(self):
            return decoding.morpheme_text(pieces, tags=self._settings["tags"])
        return decoding.plain_text(pieces)

    # --- Text to tokens ---

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text."""
        return [self._pieces[i] for i in self.encode_ids(text)]

    def encode_ids(self, text: str) -> list[int]:
        """The ids of a text's pieces, without special tokens."""
        arguments.check_text("text", text)
        keys = self._keys_of_short(text)
        return self._encode_block([text]).ids.tolist() if keys is None else packed_ids(self._lists.tokens(keys[0]))

    def encode(self, text: str) -> Encoding:
        """The tokens of a text, in order, without special tokens; offsets are characters of `text` itself."""
        arguments.check_text("text", text)
        found = self._keys_of_short(text)
        if found is None:
            return next(self._encode_block([text]).each_with(self._pieces))
        keys, begin = found
        return Encoding.packed(self._lists.tokens(keys), begin, self._pieces)

    def _keys_of_short(self, text: str) -> tuple[list[str], int] | None:
        """The keys of a text that is looked up without arrays, and where the first one begins; None where it is long,
        something of it has moved, or it is not cut into words alone.
        """
        if self._sentencepiece is not None or self._added is not None:
            return None
        normalized = self._segmenter.normalize(text)
        if normalized.starts is not None or len(normalized.text) > _LONG_TEXT:
            return None
        return self._segmenter.keys(normalized.text)

    def encode_ids_batch(self, texts: Iterable[str], *, num_workers: int = 1) -> list[list[int]]:
        """`encode_ids` of every text, in order.

        With `num_workers` > 1 so many processes are started for this call, which pays from a few MB of text on.
        """
        with _collector_paused():
            blocks = ordered_map(self._ids_of_block, _blocks(texts), num_workers=_workers(num_workers))
            return [ids for block in blocks for ids in block.each_ids()]

    def encode_batch(self, texts: Iterable[str], *, num_workers: int = 1) -> list[Encoding]:
        """`encode` of every text, in order; `num_workers` as in `encode_ids_batch`."""
        with _collector_paused():
            blocks = ordered_map(self._encode_block, _blocks(texts), num_workers=_workers(num_workers))
            return [encoding for block in blocks for encoding in block.each_with(self._pieces)]

    def normalize(self, text: str) -> str:
        """The text as it is looked up: NFC, plain spaces, without control and zero-width characters."""
        return self._normalized(text).text if self._sentencepiece is None else self._sentencepiece.normalize(text)

    def _normalized(self, text: str) -> Normalized:
        if self._sentencepiece is None:
            return self._segmenter.normalize(text)
        return Normalized(self._sentencepiece.prepared(text))

    def pre_tokenize(self, text: str) -> list[Word]:
        """The words that are cut into pieces, with offsets into `text` and whether each begins an eojeol."""
        if self._added is None:
            return self._words(text)
        return words_around(text, self._added, self._words)

    def _words(self, text: str) -> list[Word]:
        if self._sentencepiece is None:
            return self._segmenter.words(text)
        return [Word(m.group(), "", *m.span(), begins=True, continues=False) for m in re.finditer(r"\S+", text)]

    def encode_texts(self, texts: Sequence[str]) -> Encodings:
        """The tokens of all texts as flat arrays."""
        return Encodings.join([self._encode_block(block) for block in _blocks(texts)])

    def _encode_block(self, texts: Sequence[str]) -> Encodings:
        encode = self._encode_words if self._sentencepiece is None else self._encode_by_model
        return encode(texts) if self._added is None else encode_around(texts, self._added, self.vocab, encode)

    def _encode_by_model(self, texts: Sequence[str]) -> Encodings:
        """By SentencePiece. A text cannot spell a special token, even where the model has it as a piece."""
        unknown = dict.fromkeys(self._special_tokens(), self.unk_id)
        lookup, rows, columns = {**self.vocab, **unknown}, [], []
        for text in texts:
            cuts = self._sentencepiece.cut(text)  # type: ignore[union-attr]  # called only where there is a model
            rows.append(len(cuts))
            columns += [
                (lookup.get(piece, self.unk_id), start, end, EOJEOL if begins else 0)
                for piece, start, end, begins in cuts
            ]
        return _encodings(columns, rows)

    def _encode_words(self, texts: Sequence[str]) -> Encodings:
        normalized = list(map(self._segmenter.normalize, texts))
        moved = [index for index, one in enumerate(normalized) if one.starts is not None]
        torn = {index: self._encode_torn(texts[index]) for index in moved if normalized[index].seams()}
        lines, shifts = self._segmenter.lines_of_texts([one.text for one in normalized])
        bounds = list(itertools.accumulate((one.count("\n") for one in lines), initial=0))
        encodings = laid_out(*self._table.look_up("".join(lines)), bounds, shifts)
        for index in moved:
            _, starts, ends, _, _ = encodings.alone(index)
            starts[:] = np.array(normalized[index].starts, np.int32)[starts]
            ends[:] = np.array(normalized[index].ends, np.int32)[ends - 1]
        return encodings.with_rows(torn)

    def _encode_torn(self, text: str) -> Encodings:
        """A text in which one character became several, which may not be torn apart: piece by piece."""
        begins = {word.start: EOJEOL if word.begins else WORD for word in self._segmenter.words(text)}
        pieces = self._wordpiece.cut_text(self._segmenter, text)
        return _encodings([(p.id, p.start, p.end, begins.get(p.start, 0)) for p in pieces], [len(pieces)])

    def _cut_key(self, key: str) -> list[int]:
        values: list[int] = []
        position = 0
        for word in self._segmenter.words_of_key(key):
            gap, begins = word.start - position, EOJEOL if word.begins else WORD
            for i, length in self._wordpiece.lengths(word.surface, tag=word.tag, continues=word.continues):
                values += (i, gap, length, begins)
                gap = begins = 0
            position = word.end
        return values

    def _ids_of_block(self, texts: list[str]) -> Encodings:
        """Without what the caller does not want, so that it need not travel between processes."""
        nothing = np.empty(0, np.int32)
        return self._encode_block(texts)._replace(starts=nothing, ends=nothing, begins=nothing)

    # --- Settings, and a tokenizer as files ---

    def settings(self) -> dict[str, Any]:
        """The keyword arguments that make this tokenizer again from its vocabulary; JSON can hold them."""
        return dict(self._settings)

    def fingerprint(self) -> str:
        """A hash of what decides the ids: vocabulary, settings, and the analyses of fixed sentences."""
        analyser = self.analyser.fingerprint() if self.analyser else {}
        decisive = [analyser.get(name) for name in ("dictionary_entries", "user_dictionary", "sentences")]
        if self._sentencepiece is not None:
            decisive.append(files.sha256(self._sentencepiece.path))
        content = json.dumps([self._pieces, pretrained.settings_to_save(self.settings()), decisive], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def save_pretrained(self, path: str) -> None:
        """Writes `vocab.txt` and `tokenizer_config.json` into a folder, new or there already; what transformers needs
        to load it goes along.
        """
        pretrained.save_pretrained(self, arguments.path("path", path))

    def check_folder(self, path: str) -> None:
        """Raises `InputError` if the tokenizer may not be saved into this folder."""
        pretrained.check_folder(path)

    @classmethod
    def from_pretrained(cls, path: str, **settings: Any) -> "Tokenizer":
        """Reads a folder, the vocabulary in one, or a hub id; `settings` go before those saved.

        A folder that is not ours is plain BERT: as its `tokenizer_config.json` says, or cased where there is none. An
        analyser that differs from the one of the folder is a warning that says in what. `pretrained.py` has the rule.
        """
        return pretrained.from_pretrained(cls, arguments.path("path", path), **settings)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Python's cycle collector goes through all tokens made so far, again and again, and never finds anything."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _as_lists(name: str, ids: Any) -> Any:
    """Whole numbers as Python's, arrays and tensors as lists of them; whatever holds them as a list."""
    if hasattr(ids, "numpy"):
        ids = ids.numpy()
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if isinstance(ids, str | bytes | dict):
        raise arguments.wrong_type(name, "ids", ids)
    return (
        [_as_lists(f"{name}[{i}]", one) for i, one in enumerate(ids)]
        if isinstance(ids, Iterable)
        else (arguments.whole(name, ids))
    )


def _workers(num_workers: int) -> int:
    return arguments.whole("num_workers", num_workers, 1, 1024)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts, about `_CHARACTERS_PER_BLOCK` in each."""
    block, size = [], 0
    for text in arguments.each_text("texts", texts):
        block.append(text)
        size += len(text) + 1
        if size >= _CHARACTERS_PER_BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _read_vocab(vocab: Any) -> dict[str, int]:
    if isinstance(vocab, str | os.PathLike):
        return vocab_file.load(os.fspath(vocab))
    return dict(vocab) if isinstance(vocab, dict) else vocab_file.check(arguments.each_text("vocab", vocab))


def _encodings(columns: list[tuple[int, int, int, int]], lengths: list[int]) -> Encodings:
    """From (id, start, end, begins) of each token and the number of tokens of each text."""
    ids, starts, ends, flags = np.ascontiguousarray(np.array(columns, np.int32).reshape(-1, 4).T)
    return Encodings(ids, starts, ends, flags.astype(np.int8), starts_of(np.array(lengths, np.int64)))


def _checked_special_tokens(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(token, str) for token in given.values()):
        raise arguments.wrong_type("special_tokens", "a dict of strings", given)
    return given


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
