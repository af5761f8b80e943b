"""The share of unknown pieces, which every tool reports of the text that it reads.

A few unknown pieces (emoji, rare Hanja) are usual. Above 5 % the vocabulary or the tokenizer's settings belong to
another model or another kind of text, and scores would be low for no visible reason.
"""

import itertools
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from kobert_tf2.tokenization.encoding import Encoding
from kobert_tf2.tokenization.tokenizer import Tokenizer

WARN_FROM = 0.05


def report(source: str, *, unknown: int, pieces: int) -> float:
    """Reports on standard error how many pieces of a text are unknown, with a warning if they are many.

    Returns the share, to 6 digits.
    """
    share = unknown / pieces if pieces else 0.0
    print(f"{source}: {unknown:,} of {pieces:,} pieces are unknown ({share:.2%})", file=sys.stderr)
    if share >= WARN_FROM:
        print(
            f"warning: {source}: {share:.0%} of the pieces are unknown: this vocabulary does not fit the text; see "
            "that it is the model's own, and which --pre_tokenizer and --do_lower_case it was made for",
            file=sys.stderr,
        )
    return round(share, 6)


def report_ids(source: str, ids: Iterable[Sequence[int]], unk_id: int) -> float:
    """`report` for the ids of the pieces of texts, without special tokens."""
    joined = np.fromiter(itertools.chain.from_iterable(ids), np.int32)
    return report(source, unknown=int((joined == unk_id).sum()), pieces=len(joined))


def report_encodings(source: str, encodings: Iterable[Encoding], unk_id: int) -> float:
    """`report` for encoded texts."""
    ids = [encoding.ids for encoding in encodings]
    return report(source, unknown=sum(int((one == unk_id).sum()) for one in ids), pieces=sum(map(len, ids)))


def report_rows(source: str, input_ids: np.ndarray, input_mask: np.ndarray, tokenizer: Tokenizer) -> float:
    """`report` for a model's inputs, int32 [rows, sequence]; padding and special tokens do not count."""
    special = np.isin(input_ids, [tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id])
    text = input_mask.astype(bool) & ~special
    return report(source, unknown=int((input_ids[text] == tokenizer.unk_id).sum()), pieces=int(text.sum()))
