"""Values derived from the limits."""

import math

import pytest

from kobert_tf2.serving.limits import Limits, is_loopback


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.9.8.7", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
     ("192.0.2.1", False), ("1127.0.0.1", False), ("::2", False), ("", False), ("testclient", False)],
)  # fmt: skip
def test_loopback_addresses(address, expected):
    assert is_loopback(address) == expected
    assert Limits(per_address=7).most_of(address) == (math.inf if expected else 7)
    assert Limits(per_address=7, count_loopback=True).most_of(address) == 7
    assert Limits(per_address=None).most_of(address) == math.inf


def test_a_body_of_the_longest_request_fits_however_it_is_spelled():
    limits = Limits(question_characters=10, context_characters=20)
    escaped = 30 * len(r"\ud83d\ude00")
    assert escaped + 200 < limits.body_bytes < 2 * escaped + 2000
