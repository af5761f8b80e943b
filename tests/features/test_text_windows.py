"""Windows of long texts: each token counts in exactly one of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.features.text_windows import windows_of
from kobert_tf2.tokenization.encoding import Encoding, Token


def encoding(size: int) -> Encoding:
    return Encoding.of(Token(str(i), i, i, i + 1) for i in range(size))


@given(size=st.integers(0, 60), room=st.integers(1, 20))
def test_every_token_counts_once_and_no_window_is_too_long(size, room):
    counted = np.zeros(size, int)
    for window in windows_of(3, encoding(size), room, "windows"):
        assert window.text == 3
        assert len(window.ids) <= room
        assert len(window.counts) == len(window.ids) + 2
        np.add.at(counted, np.array(window.ids, int)[window.counts[1:-1]], 1)
    assert (counted == 1).all()


def test_a_text_may_be_truncated_instead():
    (window,) = windows_of(0, encoding(9), 4, "truncate")
    assert window.ids == [0, 1, 2, 3]
