"""TFRecords: our bytes are TensorFlow's bytes, and what is broken is told with its file and place."""

import gzip
import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import tfrecord

FEATURES = tfrecord.pretraining_features(max_seq_length=8, max_predictions_per_seq=2)


def table(rows: int, *, seed: int = 0, largest: int = 32000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.random((rows, feature.length), np.float32)
        if feature.dtype == "float32"
        else rng.integers(0, largest, (rows, feature.length))
        for name, feature in FEATURES.items()
    }


def example(row: dict[str, np.ndarray]) -> bytes:
    def feature(values):
        if values.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    message = tf.train.Example(features=tf.train.Features(feature={name: feature(row[name]) for name in row}))
    return message.SerializeToString(deterministic=True)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_bytes_are_those_of_tf_train_example(data):
    rows, length = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 130))
    number = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
    row = st.lists(number, min_size=length, max_size=length)
    made = {
        "ids": np.array(data.draw(st.lists(row, min_size=rows, max_size=rows))),
        "a longer name": np.random.default_rng(0).random((rows, 3), np.float32),
        "b": np.arange(rows)[:, None],
    }
    assert tfrecord.serialize(made) == [example({name: made[name][i] for name in made}) for i in range(rows)]


def test_more_rows_than_are_serialised_at_once():
    made = table(2500)
    serialised = tfrecord.serialize(made)
    assert len(serialised) == 2500
    for i in (0, 1023, 1024, 2499):
        assert serialised[i] == example({name: made[name][i] for name in made})


def test_framing_is_that_of_the_tensorflow_writer(tmp_path):
    serialised = tfrecord.serialize(table(50))
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for one in serialised:
            writer.write(one)
    assert b"".join(tfrecord.framed(serialised)) == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_what_is_written_is_read(tmp_path, compression):
    made = table(10)
    tfrecord.write(tmp_path / "a", made, compression=compression)
    (batch,) = tfrecord.dataset(tmp_path / "a", FEATURES, batch_size=10)
    for name, feature in FEATURES.items():
        assert batch[name].dtype == feature.dtype
        np.testing.assert_array_equal(batch[name], made[name].astype(feature.dtype))
    assert list(tfrecord.read_examples(tmp_path / "a")) == tfrecord.serialize(made)


def test_equal_data_is_equal_bytes_under_gzip(tmp_path):
    for name in ("a", "b"):
        tfrecord.write(tmp_path / name, table(3), compression="GZIP")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_with_and_without_gzip_are_read_together(tmp_path):
    tfrecord.write(tmp_path / "x-1", table(3, seed=1))
    tfrecord.write(tmp_path / "x-2", table(4, seed=2), compression="GZIP")
    assert sum(len(b["input_ids"]) for b in tfrecord.dataset(f"{tmp_path}/x-*", FEATURES, batch_size=2)) == 7


def first_ids(data, count: int | None = None) -> list[int]:
    batches = data if count is None else data.take(count)
    return [int(i) for batch in batches for i in batch["input_ids"][:, 0]]


def numbered(tmp_path, *, shards: int, rows: int) -> str:
    for shard in range(shards):
        made = table(rows)
        made["input_ids"] = np.repeat(np.arange(rows)[:, None] + shard * rows, 8, axis=1)
        tfrecord.write(tmp_path / f"n-{shard:05d}-of-{shards:05d}", made)
    return f"{tmp_path}/n-*"


def test_the_last_batch_counts_and_can_be_dropped(tmp_path):
    pattern = numbered(tmp_path, shards=2, rows=5)
    assert sorted(first_ids(tfrecord.dataset(pattern, FEATURES, batch_size=4))) == list(range(10))
    fixed = tfrecord.dataset(pattern, FEATURES, batch_size=4, drop_remainder=True)
    assert fixed.element_spec["input_ids"].shape == (4, 8)
    assert len(first_ids(fixed)) == 8


def test_the_workers_share_every_record_once(tmp_path):
    pattern = numbered(tmp_path, shards=3, rows=5)
    shares = [first_ids(tfrecord.dataset(pattern, FEATURES, batch_size=2, shard=(i, 4))) for i in range(4)]
    assert sorted(itertools.chain(*shares)) == list(range(15))


def test_a_seed_fixes_the_order_and_each_epoch_has_its_own(tmp_path):
    pattern = numbered(tmp_path, shards=3, rows=20)
    data = lambda: tfrecord.dataset(pattern, FEATURES, batch_size=10, shuffle_buffer=30, seed=5, repeat=True)  # noqa: E731
    two_epochs = first_ids(data(), 12)
    assert two_epochs == first_ids(data(), 12)
    assert sorted(two_epochs[:60]) == sorted(two_epochs[60:]) == list(range(60))
    assert two_epochs[:60] != two_epochs[60:] != list(range(60))


def test_a_checkpointed_iterator_goes_on_where_it_was(tmp_path):
    pattern = numbered(tmp_path, shards=3, rows=20)
    data = tfrecord.dataset(pattern, FEATURES, batch_size=7, shuffle_buffer=30, seed=5, repeat=True)
    iterator = iter(data)
    for _ in range(5):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    expected = [next(iterator)["input_ids"].numpy() for _ in range(8)]
    again = iter(data)
    tf.train.Checkpoint(iterator=again).restore(saved).assert_consumed()
    np.testing.assert_array_equal([next(again)["input_ids"].numpy() for _ in range(8)], expected)


def test_other_lengths_are_reported_with_the_file_and_both_lengths(tmp_path):
    tfrecord.write(tmp_path / "a", table(3))
    longer = tfrecord.pretraining_features(max_seq_length=16, max_predictions_per_seq=2)
    with pytest.raises(InputError, match=r"/a, record 1: input_\w+ has 8 numbers, but 16 were asked for"):
        tfrecord.dataset(tmp_path / "a", longer, batch_size=2)


def test_a_feature_that_is_missing_is_reported(tmp_path):
    made = table(3)
    del made["masked_lm_weights"]
    tfrecord.write(tmp_path / "a", made)
    with pytest.raises(InputError, match=r"record 1: expected the feature masked_lm_weights, but it holds"):
        tfrecord.dataset(tmp_path / "a", FEATURES, batch_size=2)


def test_no_match_is_reported(tmp_path):
    with pytest.raises(InputError, match="no file matches"):
        tfrecord.dataset(f"{tmp_path}/*.tfrecord", FEATURES, batch_size=2)


def damage(path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        del content[-5:]
    elif how == "cut in a head":
        del content[-len(tfrecord.framed(tfrecord.serialize(table(3)))[-1]) + 6 :]
    elif how == "flipped data":
        content[-40] ^= 1
    elif how == "flipped length":
        content[len(tfrecord.framed(tfrecord.serialize(table(3)))[0]) + 1] ^= 1
    path.write_bytes(bytes(content))


def test_what_tensorflow_takes_for_the_end_of_the_file_is_reported_by_its_size(tmp_path):
    tfrecord.write(tmp_path / "b", table(3))
    shard = {"name": "b", "bytes": (tmp_path / "b").stat().st_size, "instances": 3, "sha256": "0" * 64}
    car = {"shards": [shard]}
    files.write_json(tmp_path / "b.json", car)
    tfrecord.check_sizes(tmp_path / "b")
    damage(tmp_path / "b", "cut in a head")
    assert sum(1 for _ in tf.data.TFRecordDataset(str(tmp_path / "b"))) == 2  # no error: this is why sizes are compared
    with pytest.raises(InputError, match=r"/b: expected \d+ bytes, as .*b\.json says, but it has \d+"):
        tfrecord.dataset(tmp_path / "b", FEATURES, batch_size=2)
    with pytest.raises(InputError, match="/b, record 3: the file ends within a record"):
        tfrecord.check(tmp_path / "b", FEATURES)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", r"/b, record 3: expected \d+ bytes more"),
        ("flipped data", r"/b, record 3: its data does not match its checksum"),
        ("flipped length", r"/b, record 2: its length field does not match"),
    ],
)
def test_a_damaged_shard_is_reported_with_its_file_and_record(tmp_path, how, said):
    tfrecord.write(tmp_path / "a", table(3))
    tfrecord.write(tmp_path / "b", table(3))
    damage(tmp_path / "b", how)
    data = tfrecord.dataset(f"{tmp_path}/*", FEATURES, batch_size=2)
    with pytest.raises((tf.errors.DataLossError, tf.errors.InvalidArgumentError)):
        list(data)
    with pytest.raises(InputError, match=said):
        tfrecord.check(f"{tmp_path}/*", FEATURES)


def test_a_damaged_gzip_shard_is_reported(tmp_path):
    tfrecord.write(tmp_path / "a", table(3), compression="GZIP")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-9])
    with pytest.raises(InputError, match="/a, after record 3: the GZIP stream is broken"):
        tfrecord.check(tmp_path / "a", FEATURES)


def test_a_file_of_something_else_is_reported(tmp_path):
    (tmp_path / "a").write_text("a corpus, not records")
    with pytest.raises(InputError, match="record 1: its length field does not match"):
        tfrecord.dataset(tmp_path / "a", FEATURES, batch_size=1)
    (tmp_path / "b").write_bytes(b"".join(tfrecord.framed([b"\xff\xff not an example"])))
    with pytest.raises(InputError, match=r"record 1: expected a tf\.train\.Example"):
        tfrecord.dataset(tmp_path / "b", FEATURES, batch_size=1)
    (tmp_path / "c").write_bytes(gzip.compress(b"not records either"))
    with pytest.raises(InputError, match="record 1: its length field"):
        tfrecord.dataset(tmp_path / "c", FEATURES, batch_size=1)


def test_an_empty_shard_is_reported_by_the_full_check(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(InputError, match="/a: expected records, but the file is empty"):
        tfrecord.check(tmp_path / "a", FEATURES)


@pytest.mark.parametrize(
    "wrong", [{}, {"a": np.zeros(3)}, {"a": np.zeros((3, 0))}, {"a": np.zeros((3, 1)), "b": np.zeros((2, 1))}]
)
def test_a_table_that_is_not_one_is_reported(wrong):
    with pytest.raises(InputError, match="expected"):
        tfrecord.serialize(wrong)


def test_the_side_car_of_shards_is_named_without_their_numbers():
    assert tfrecord.sidecar_path("d/train-00003-of-00016") == "d/train.json"
    assert tfrecord.sidecar_path("d/train.tfrecord") == "d/train.tfrecord.json"


def side_car(tmp_path, name: str, **said) -> None:
    tfrecord.write(tmp_path / name, table(2))
    said = {"format": "x", "max_seq_length": 8, "complete": True, "counts": {"instances": 2}} | said
    files.write_json(tmp_path / f"{name}.json", said)


def test_side_cars_of_sets_that_agree_are_summed(tmp_path):
    side_car(tmp_path, "a")
    side_car(tmp_path, "b")
    assert tfrecord.read_sidecar([tmp_path / "a", tmp_path / "b"])["counts"] == {"instances": 4}


def test_side_cars_that_differ_or_are_unfinished_are_reported(tmp_path):
    side_car(tmp_path, "a")
    side_car(tmp_path, "b", max_seq_length=16)
    side_car(tmp_path, "c", complete=False)
    with pytest.raises(InputError, match=r"b\.json: max_seq_length is 16, but 8 in .*a\.json"):
        tfrecord.read_sidecar([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InputError, match=r"c\.json: these records are not complete"):
        tfrecord.read_sidecar(tmp_path / "c")


def test_records_of_the_original_script_have_no_side_car(tmp_path):
    tfrecord.write(tmp_path / "a", table(2))
    assert tfrecord.read_sidecar(tmp_path / "a") is None
