"""The original BERT's tokenization, written from its description: old command lines must reproduce its results.

Treats white space, control characters, CJK ideographs and punctuation as `FullTokenizer` does. With `lower_case` it
also strips accents by NFD, which decomposes Hangul. Then it greedily takes the longest matching piece.
"""

import unicodedata


def tokenize(text: str, vocab: list[str], *, lower_case: bool) -> list[str]:
    known = set(vocab)
    return [piece for word in _words(text, lower_case) for piece in _pieces(word, known)]


def _words(text: str, lower_case: bool) -> list[str]:
    if lower_case:
        decomposed = unicodedata.normalize("NFD", text.lower())
        text = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    spaced = "".join(f" {char} " if _stands_alone(char) else char for char in map(_cleaned, text))
    return spaced.split()


def _cleaned(char: str) -> str:
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    return "" if char in "\0\ufffd" or unicodedata.category(char) in ("Cc", "Cf") else char


def _stands_alone(char: str) -> bool:
    if not char:
        return False
    is_symbol = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return is_symbol or unicodedata.category(char).startswith("P") or "\u4e00" <= char <= "\u9fff"


def _pieces(word: str, known: set[str]) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in known), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces
