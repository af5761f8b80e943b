"""A part of the training file is held out: at random, the same for the same seed, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.tasks.hold_out import hold_out


@given(count=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_every_example_is_on_one_side_in_its_order(count, fraction, seed):
    wanted = round(count * fraction)
    if not 0 < wanted < count:
        return
    rest, held_out = hold_out(range(count), fraction, seed)
    assert len(held_out) == wanted
    assert sorted([*rest, *held_out]) == list(range(count))
    assert rest == sorted(rest)
    assert held_out == sorted(held_out)
    assert hold_out(range(count), fraction, seed) == (rest, held_out)


def test_another_seed_holds_out_others():
    assert hold_out(range(100), 0.2, 0)[1] != hold_out(range(100), 0.2, 1)[1]


@pytest.mark.parametrize(("count", "fraction"), [(2, 0.1), (3, 0.9), (1, 0.5), (0, 0.5)])
def test_a_side_without_an_example_is_an_error_with_the_flag(count, fraction):
    with pytest.raises(InputError, match=f"--eval_fraction={fraction} of {count} examples"):
        hold_out(range(count), fraction, 0)
