"""Generates damaged copies of valid files from a seed: changes bytes, declared lengths, and JSON values."""

import copy
import json
import random

# Values of many kinds: control characters, a byte order mark, half a character, JavaScript literals, other JSON.
_SNIPPETS = [
    *(b"\0", b"\xff", b"\n", b"\r", b"\t", b'"', b"\\", b"{", b"[", b"]", b"}", b",", b":", b"-", b"#", b"<", b">"),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xea\xb0", "가".encode(), b"\xff\xfe", b"PK\x03\x04"),
    *(b"NaN", b"1e999", b"null", b"true", b"9" * 25, b"../", b"%s", b"\x1f\x8b", b"[" * 3000, b"x" * 5000, b"\n" * 300),
]
_NUMBERS = [0, 1, 7, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
_STRINGS = ["", " ", "x", "\0", "../x", "/etc/passwd", "가" * 3000, "\ud800", "a\nb", "[UNK]", "##", "-1", "1e3", "NaN"]
_VALUES = [
    *(None, True, False, 0, -1, 1, 2, 10**6, 2**31, 10**18, -(2**63), 1.5, -0.0, 1e-320, 1e308, "\u2028"),
    *([], {}, [[]], [None], [0], {"a": 1}, {"": None}, [1, 2, 3], ["a", "a"], [["a", 1]], {"0": "a", "1": "a"}),
    *_STRINGS,
]


def mutated(content: bytes, rng: random.Random, others: list[bytes] | None = None) -> bytes:
    """Returns `content` with one to four changes; `others` are files from which parts may be copied."""
    if rng.random() < 0.6 and (document := _parsed(content)) is not None:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            document = _changed_value(document, rng)
        content = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        if rng.random() < 0.8:
            return content
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _changed_bytes(content, rng, others or [content])
    return content


def _parsed(content: bytes) -> object | None:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _places(value: object, way: tuple = ()) -> list[tuple]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, inner in below for place in _places(inner, (*way, key)))]


def _changed_value(document: object, rng: random.Random) -> object:
    """Replaces, removes, duplicates, renames, moves or deeply nests one value of a JSON document."""
    way = rng.choice(_places(document))
    if not way:
        return document if rng.random() < 0.7 else copy.deepcopy(rng.choice(_VALUES))
    document = copy.deepcopy(document)
    holder = document
    for key in way[:-1]:
        holder = holder[key]
    key, how = way[-1], rng.random()
    if how < 0.55:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))
    elif how < 0.65:
        del holder[key]
    elif how < 0.75 and isinstance(holder, dict):
        holder[rng.choice(_STRINGS)] = holder.pop(key)
    elif how < 0.85 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(rng.choice([holder[key], rng.choice(_VALUES)])))
    elif how < 0.9:
        holder[key] = [holder[key]] * rng.choice((2, 50))
    elif how < 0.95:
        for _ in range(rng.choice((5, 90))):
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
    else:
        other = document
        for step in rng.choice(_places(document)):
            other = other[step]
        holder[key] = copy.deepcopy(other)
    return document


def _changed_bytes(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    start = rng.randrange(len(content) + 1) if rng.random() < 0.6 else rng.randrange(min(len(content), 200) + 1)
    end = min(len(content), start + rng.choice((0, 1, 1, 2, 4, 8, 30, 300)))
    how = rng.randrange(9)
    if how == 0:
        return content[:start]
    if how == 1:
        return content[:start] + content[end:]
    if how == 2:
        return content[:start] + rng.choice(_SNIPPETS) + content[end:]
    if how == 3:
        return content[:start] + content[start:end] * rng.choice((2, 3, 40)) + content[end:]
    if how == 4:
        other = rng.choice(others)
        place = rng.randrange(len(other) + 1)
        return content[:start] + other[place : place + rng.choice((4, 40, 400))] + content[end:]
    if how == 5:  # A length, or a protocol buffer varint.
        number, size = rng.choice(_NUMBERS), rng.choice((1, 2, 4, 8))
        value = (number % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
        value = value if rng.random() < 0.7 else _varint(number)
        return content[:start] + value + content[start + len(value) :]
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if flipped:
            place = rng.randrange(len(flipped))
            flipped[place] = flipped[place] ^ (1 << rng.randrange(8)) if rng.random() < 0.5 else rng.randrange(256)
    return bytes(flipped)


def _varint(number: int) -> bytes:
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)
