"""Punctuation that the mecab-ko dictionary does not know, and what Mecab is given in its place.

Mecab takes ㆍ (U+318D, the middle dot of half of all official documents) for a letter: in 서울ㆍ부산ㆍ대구를 everything
after the first dot becomes one unknown word, and no answer inside it can be extracted. So Mecab is given the nearest
character of the same length that does not affect its neighbours, while surfaces and offsets stay those of the original:
the original character is looked up in the vocabulary, and if it is not there, it alone becomes the unknown token.

The tables were made by querying the dictionary (tests/tokenization/test_substitutes.py repeats it): all of Unicode's
punctuation, symbols and private-use characters, and letters used as punctuation, were placed between words, numbers and
Latin letters. Mecab takes all others for symbols, and they do no harm.
"""

import re

# Jamo that form a syllable of old Hangul with a vowel beside them.
_LEADING, _TRAILING = "\u1100-\u115f\ua960-\ua97c", "\u11a8-\u11ff\ud7cb-\ud7fb"
_JAMO = f"{_LEADING}\u1160-\u11a7{_TRAILING}\u3131-\u318e"

SUBSTITUTES = {
    # Middle dots that are vowels (arae-a), and the invisible filler, which is a vowel too.
    "\u318d": "·",
    "\u119e": "·",
    "\u11a2": "·",
    "\u3164": "·",
    # A vowel that looks like a dash and consonants that look like circles, where they are used as such: see `_PLACES`.
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
    # Signs that Mecab counts as digits: in 1945⁽¹⁾ the footnote would become part of the year.
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
    # Dashes (정치ㅡ경제) and circles (ㅇ서울시, 김ㅇㅇ씨) merge with the syllables after them; elsewhere (ㅡㅡ, ㅇㅋ)
    # they do not affect their neighbours.
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
