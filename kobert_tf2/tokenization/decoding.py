"""Pieces back to readable text. What a tokenizer dropped or levelled does not come back:

- white space is one space between words: double spaces, line ends and spaces at the ends are gone
- what normalisation changed stays changed (NFC, control characters, case where the tokenizer lower-cases)
- an unknown word is the unknown token, [UNK]
- with `continuation="morpheme"` a piece that begins a morpheme looks like one that begins an eojeol: 학교에서 comes
  back as 학교 에서. With "eojeol", the default, and with SentencePiece, the spaces between eojeols are the text's own.
- plain BERT splits punctuation off: a space before . , ? and ! goes again, others stay ("( 가 )")

`hf_bundle.py` puts this file into the one for transformers.
"""

import re
from collections.abc import Sequence

_TAG = re.compile(r"(?<=.)/[A-Z]+(\+[A-Z]+)*$")
_AFTER_A_WORD = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")


def plain_text(pieces: Sequence[str]) -> str:
    """Of plain BERT's pieces, as the decoder for WordPiece of the `tokenizers` library writes it."""
    parts = []
    for place, piece in enumerate(pieces):
        spaced = piece if place == 0 else piece[2:] if piece.startswith("##") else f" {piece}"
        for mark in _AFTER_A_WORD:
            spaced = spaced.replace(mark, mark[1:])
        parts.append(spaced.replace(" ' ", "'").replace(" do not", " don't"))
    return "".join(parts)


def morpheme_text(pieces: Sequence[str], *, tags: bool = False) -> str:
    """Of pieces of morphemes. With `tags` their tags are taken off: 사과나무/NNG ##를/JKO is 사과나무를."""
    words = [_TAG.sub("", piece) for piece in pieces] if tags else pieces
    return " ".join(words).replace(" ##", "").strip()


def sentencepiece_text(pieces: Sequence[str]) -> str:
    """Of SentencePiece's pieces, which carry their spaces as ▁."""
    return "".join(pieces).replace("\u2581", " ").strip()


def clean_up(text: str) -> str:
    """`clean_up_tokenization_spaces` of transformers: English contractions, and no space before . ? ! and , ."""
    for mark in (" .", " ?", " !", " ,"):
        text = text.replace(mark, mark[1:])
    text = text.replace(" ' ", "'")
    for mark in (" n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(mark, mark[1:])
    return text
