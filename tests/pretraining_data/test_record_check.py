"""Records whose numbers cannot be true are refused before a model learns from them, with the file and the record."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import record_check, tfrecord

LIMITS = record_check.Limits(vocab_size=50, type_vocab_size=2)
FEATURES = tfrecord.pretraining_features(max_seq_length=8, max_predictions_per_seq=3)
ROWS = 20


def true_table(rows: int = ROWS) -> dict[str, np.ndarray]:
    """Records as create_pretraining_data makes them; the last one has no prediction."""
    rng = np.random.default_rng(0)
    length = rng.integers(4, 9, rows)
    mask = (np.arange(8) < length[:, None]).astype(np.int64)
    predictions = np.arange(3) < np.append(rng.integers(1, 4, rows - 1), 0)[:, None]
    return {
        "input_ids": rng.integers(5, 50, (rows, 8)) * mask,
        "input_mask": mask,
        "segment_ids": (np.arange(8) >= 3) * mask,
        "masked_lm_positions": np.array([1, 2, 3]) * predictions,
        "masked_lm_ids": rng.integers(5, 50, (rows, 3)) * predictions,
        "masked_lm_weights": predictions.astype(np.float32),
        "next_sentence_labels": rng.integers(0, 2, (rows, 1)),
    }


# What is written into row 7 (which has 3 predictions), and what the sentence says of it.
LIES = {
    "an id beyond int32": ("input_ids", (2, 2**31), "an id from 0 to 49, as the vocabulary has it, but got 2147483648"),
    "an id that int32 makes small": ("input_ids", (2, 2**32 + 7), "but got 4294967303"),
    "an id beyond the vocabulary": ("input_ids", (0, 50), "number 1: expected an id from 0 to 49.*but got 50"),
    "a negative id": ("input_ids", (1, -1), "number 2: expected an id from 0 to 49.*but got -1"),
    "a mask of 2": ("input_mask", (0, 2), "0 or 1, but got 2"),
    "a mask of -1": ("input_mask", (7, -1), "0 or 1, but got -1"),
    "a mask with a hole": ("input_mask", (1, 0), "a 1 follows a 0"),
    "no mask at all": ("input_mask", (slice(None), 0), "a row with a token, but it is 0 everywhere"),
    "segment 2": ("segment_ids", (3, 2), "a segment from 0 to 1, but got 2"),
    "segment -1": ("segment_ids", (3, -1), "a segment from 0 to 1, but got -1"),
    "a segment beyond int32": ("segment_ids", (3, 2**32 + 1), "a segment from 0 to 1, but got 4294967297"),
    "a position behind the row": ("masked_lm_positions", (2, 8), "a position below 8, in the row, but got 8"),
    "a position far behind it": (
        "masked_lm_positions",
        (0, 10**9),
        "a position below 8, in the row, but got 1000000000",
    ),
    "a position beyond int32": ("masked_lm_positions", (1, 2**32 + 1), "a position below 8, in the row"),
    "a negative position": ("masked_lm_positions", (1, -1), "a position from 0 on, but got -1"),
    "a label beyond the vocabulary": ("masked_lm_ids", (0, 50), "an id from 0 to 49.*but got 50"),
    "a label beyond int32": ("masked_lm_ids", (0, 2**32 + 6), "an id from 0 to 49"),
    "a negative label": ("masked_lm_ids", (1, -5), "but got -5"),
    "a negative weight": ("masked_lm_weights", (0, -1), "a weight of 0 or more, but got -1.0"),
    "a weight that is NaN": ("masked_lm_weights", (1, np.nan), "a weight of 0 or more, but got nan"),
    "an infinite weight": ("masked_lm_weights", (2, np.inf), "a weight of 0 or more, but got inf"),
    "weights of 0 for labels": ("masked_lm_weights", (slice(None), 0), "a weight above 0 where there are labels"),
    "a sentence label of 2": ("next_sentence_labels", (0, 2), "0 or 1, but got 2"),
    "a sentence label of -1": ("next_sentence_labels", (0, -1), "0 or 1, but got -1"),
}
ROW = 7


def lying_table(name: str) -> dict[str, np.ndarray]:
    feature, (place, value), _ = LIES[name]
    table = true_table()
    table["masked_lm_positions"][ROW], table["masked_lm_weights"][ROW] = [1, 2, 3], 1
    table["masked_lm_ids"][ROW], table["input_mask"][ROW] = [9, 8, 7], [1, 1, 1, 1, 1, 0, 0, 0]
    assert record_check.find(table, LIMITS) is None
    table[feature][ROW, place] = value
    return table


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Writes shards of these tables; returns their paths."""

    def write(**tables) -> list[str]:
        folder = tmp_path_factory.mktemp("shards")
        for name, table in tables.items():
            tfrecord.write(f"{folder}/{name}", table)
        return [f"{folder}/{name}" for name in tables]

    return write


def read(paths, **how) -> list[dict]:
    dataset = tfrecord.dataset(paths, FEATURES, **{"batch_size": 5, "limits": LIMITS, **how})
    return [{name: value.numpy() for name, value in batch.items()} for batch in dataset]


@pytest.mark.parametrize("name", LIES)
def test_a_lie_stops_the_batch_and_is_named_with_its_shard_and_record(shards, name):
    paths = shards(a=true_table(), b=lying_table(name))
    with pytest.raises(tf.errors.InvalidArgumentError):
        read(paths)
    feature, _, said = LIES[name]
    with pytest.raises(InputError, match=rf"/b, record 8: {feature}.*{said}"):
        tfrecord.check(paths, FEATURES, limits=LIMITS)


@pytest.mark.parametrize("name", ["segment 2", "a negative weight"])
def test_a_lie_in_the_first_record_is_seen_before_anything_is_read(shards, name):
    table = {feature: np.roll(values, -ROW, axis=0) for feature, values in lying_table(name).items()}
    with pytest.raises(InputError, match=rf"/a, record 1: {LIES[name][0]}"):
        tfrecord.dataset(shards(a=table), FEATURES, batch_size=5, limits=LIMITS)


def test_a_model_with_more_segments_takes_them(shards):
    paths = shards(a=lying_table("segment 2"))
    assert len(read(paths, limits=LIMITS._replace(type_vocab_size=3))) == 4


def test_the_check_changes_no_number(shards):
    paths = shards(a=true_table(), b=true_table(33))
    how = {"shuffle_buffer": 16, "seed": 3}
    for checked, plain in zip(read(paths, **how), read(paths, limits=None, **how), strict=True):
        assert {name: value.dtype for name, value in checked.items()} == {
            name: np.dtype(feature.dtype) for name, feature in FEATURES.items()
        }
        for name in FEATURES:
            np.testing.assert_array_equal(checked[name], plain[name])


def test_an_iterator_over_checked_records_is_saved_and_goes_on(shards, tmp_path):
    dataset = tfrecord.dataset(
        shards(a=true_table()), FEATURES, batch_size=4, limits=LIMITS, shuffle_buffer=9, seed=1, repeat=True
    )
    iterator = iter(dataset)
    for _ in range(3):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "state"))
    expected = [next(iterator)["input_ids"].numpy() for _ in range(6)]
    again = iter(dataset)
    tf.train.Checkpoint(iterator=again).read(path).assert_consumed()
    for rows in expected:
        np.testing.assert_array_equal(next(again)["input_ids"].numpy(), rows)


numbers = st.integers(-3, 60) | st.sampled_from([2**31, 2**32, -(2**40)])


@given(st.sampled_from(sorted(FEATURES)), st.integers(0, ROWS - 1), st.integers(0, 7), numbers)
@settings(max_examples=300, deadline=None)
def test_the_pipeline_refuses_what_the_search_finds_and_nothing_else(feature, row, place, value):
    table = true_table()
    table[feature][row, place % table[feature].shape[1]] = value
    found = record_check.find(table, LIMITS)
    tensors = {name: tf.constant(values) for name, values in table.items()}
    try:
        with tf.device("CPU:0"):
            record_check.refuse(tensors, LIMITS)
        refused = False
    except tf.errors.InvalidArgumentError:
        refused = True
    assert refused == (found is not None)
    assert found is None or found[0] == row
