"""Punctuation that the mecab-ko dictionary does not know, and what Mecab is given in its place.

To Mecab, ㆍ (U+318D, the middle dot of half of the official documents) is a letter: in 서울ㆍ부산ㆍ대구를 all after the
first dot becomes one unknown word, and no answer in it can be cut out. So Mecab reads the nearest character of the
same length that leaves its neighbours alone, and the surface and the offsets stay those of the original: its piece is
looked up as it is written, and where the vocabulary has none, it alone is the unknown token.

What stands here was found by asking the dictionary (tests/tokenization/test_substitutes.py asks again): all of
Unicode's punctuation, symbols and private use, and the letters that people use as such, were put between words,
numbers and Latin letters. All others are symbols to Mecab, and harm nobody.
"""

import re

# Jamo that make up a syllable of old Hangul with a vowel beside them.
_LEADING, _TRAILING = "\u1100-\u115f\ua960-\ua97c", "\u11a8-\u11ff\ud7cb-\ud7fb"
_JAMO = f"{_LEADING}\u1160-\u11a7{_TRAILING}\u3131-\u318e"

SUBSTITUTES = {
    # Middle dots that are vowels, arae-a, and the filler, a vowel too, that draws nothing.
    "\u318d": "·",
    "\u119e": "·",
    "\u11a2": "·",
    "\u3164": "·",
    # Vowel and consonant drawn like a dash and a circle, where they are used so: see `_PLACES`.
    "ㅡ": "—",
    "ㅇ": "○",
    # Mecab counts these among the letters of Latin, and joins KBS×MBC.
    "×": "＊",
    "÷": "／",
    "ǀ": "|",
    "ǁ": "|",
    "ǂ": "+",
    "ǃ": "!",
    # Signs that Mecab counts among the digits: in 1945⁽¹⁾ the note would be part of the year.
    "⁺": "＋",
    "₊": "＋",
    "⁻": "－",
    "₋": "－",
    "⁼": "＝",
    "₌": "＝",
    "⁽": "(",
    "₍": "(",
    "⁾": ")",
    "₎": ")",
}

_ANY = re.compile(f"[{''.join(SUBSTITUTES)}]")
_PLACES = re.compile(
    # A dash, or several, right before a syllable. Elsewhere Mecab leaves its neighbours alone, as in ㅡㅡ; and ㅡ.ㅡ.
    f"(?<![{_JAMO}])ㅡ+(?=[가-힣])"
    # A bullet: at the beginning of an eojeol, right before a syllable.
    "|(?<![^ ])ㅇ(?=[가-힣])"
    # A vowel of old Hangul is one when consonants are around it.
    f"|(?<![{_LEADING}])[\u119e\u11a2](?![{_TRAILING}])"
    f"|[{''.join(set(SUBSTITUTES) - set('ㅡㅇ') - set(chr(0x119E) + chr(0x11A2)))}]"
)


def readable(text: str) -> str:
    """The text as Mecab should read it, of the same length; the very same object where nothing is substituted."""
    if _ANY.search(text) is None:
        return text
    return _PLACES.sub(lambda match: SUBSTITUTES[match.group()[0]] * len(match.group()), text)
