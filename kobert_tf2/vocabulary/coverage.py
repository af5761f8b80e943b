"""Measures the coverage of a vocabulary: the share of unknown pieces, pieces per eojeol, and the unknown words."""

import collections
from collections.abc import Iterable

import numpy as np

from kobert_tf2.parallel import blocks_of
from kobert_tf2.tokenization.encoding import EOJEOL
from kobert_tf2.tokenization.tokenizer import Tokenizer

_LINES_PER_BLOCK = 4000


def measure(tokenizer: Tokenizer, lines: Iterable[str]) -> dict:
    """The coverage of these lines by a tokenizer: rates, and the unknown words, most frequent first."""
    total: collections.Counter[str] = collections.Counter()
    unknown: collections.Counter[str] = collections.Counter()
    for block in blocks_of(lines, _LINES_PER_BLOCK):
        tokens = tokenizer.encode_texts(block)
        begins, lost = tokens.begins > 0, tokens.ids == tokenizer.unk_id
        # A piece is a whole word if it begins a word and the next piece, on this line or the next, begins another.
        whole = begins & np.append(begins[1:], True) & ~lost
        for token, line in zip(np.flatnonzero(lost), tokens.texts_of(np.flatnonzero(lost)), strict=True):
            unknown[block[line][tokens.starts[token] : tokens.ends[token]]] += 1
        total.update(lines=len(block), words=int(begins.sum()), pieces=len(begins), unknown=int(lost.sum()))
        total.update(eojeols=int((tokens.begins == EOJEOL).sum()), whole=int(whole.sum()))
    return {
        "lines": total["lines"],
        "eojeols": total["eojeols"],
        "words": total["words"],
        "pieces": total["pieces"],
        "unk_pieces": total["unknown"],
        "unk_rate": _ratio(total["unknown"], total["pieces"]),
        "pieces_per_eojeol": _ratio(total["pieces"], total["eojeols"]),
        "whole_word_rate": _ratio(total["whole"], total["pieces"]),
        "frequent_unk": [[text, count] for text, count in unknown.most_common(20)],
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
