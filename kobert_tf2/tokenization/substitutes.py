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
    # A vowel and consonants drawn like a dash and circles, where they are used so: see `_PLACES`.
    "ㅡ": "—",
    "ㅇ": "○",
    "ㆁ": "○",
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
_BEFORE_SYLLABLES, _OLD_VOWELS = "ㅡㅇㆁ", "\u119e\u11a2"
_EVERYWHERE = "".join(SUBSTITUTES.keys() - {*_BEFORE_SYLLABLES, *_OLD_VOWELS})
_PLACES = re.compile(
    # Dashes (정치ㅡ경제) and circles (ㅇ서울시, 김ㅇㅇ씨) join the syllables behind them; elsewhere (ㅡㅡ, ㅇㅋ)
    # they leave their neighbours alone.
    f"(?<![{_JAMO}])[{_BEFORE_SYLLABLES}]+(?=[가-힣])"
    # A vowel of old Hangul is one when consonants are around it.
    f"|(?<![{_LEADING}])[{_OLD_VOWELS}](?![{_TRAILING}])"
    f"|[{_EVERYWHERE}]"
)


def readable(text: str) -> str:
    """The text as Mecab should read it, of the same length; the very same object where nothing is substituted."""
    if _ANY.search(text) is None:
        return text
    return _PLACES.sub(lambda match: "".join(map(SUBSTITUTES.__getitem__, match.group())), text)
