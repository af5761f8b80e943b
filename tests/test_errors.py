"""The exception for a user's mistake."""

import pytest

from kobert_tf2.errors import InputError


def test_a_caller_in_python_catches_it_as_a_value_error():
    with pytest.raises(ValueError, match=r"^a sentence$"):
        raise InputError("a sentence")
