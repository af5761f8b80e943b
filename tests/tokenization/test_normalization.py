"""What the classes of characters pass over; normalising itself is tested where it shows, in the offsets of tokens."""

import itertools
import unicodedata

from kobert_tf2.tokenization.normalization import UNREMARKABLE, code_points, without_accents


def test_nothing_happens_to_the_code_points_that_are_not_asked_about():
    for char in map(chr, itertools.chain.from_iterable(UNREMARKABLE)):
        assert unicodedata.category(char) in ("Lo", "Co", "Cn", "Cs"), hex(ord(char))
        if unicodedata.category(char) != "Cs":
            assert unicodedata.normalize("NFC", char) == char == without_accents(char), hex(ord(char))


def test_every_other_code_point_is_asked_about():
    asked = list(code_points())
    assert asked == sorted(set(range(0x110000)) - set(itertools.chain.from_iterable(UNREMARKABLE)))
