"""What is wrong beside a TPU is told before it is asked for."""

import pytest
import tensorflow as tf

from kobert_tf2.tpu import host

FIT = {**host.VERSIONS, "tensorflow-text": "2.20.1", "keras": "3.15.1"}


def test_the_versions_to_install_are_those_that_are_asked_for():
    for name, version in host.VERSIONS.items():
        assert f" {name}=={version} " in host.INSTALL[0]
    assert host.version_problems(FIT) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tensorflow-tpu": ""}, "needs tensorflow-tpu==2.20.0, here is none: pip install"),
        ({"libtpu": "0.0.52"}, "needs libtpu==0.0.21, here is 0.0.52"),
        ({"tensorflow": "2.21.0"}, "tensorflow 2.21.0 hides tensorflow-tpu"),
        ({"tensorflow-text": "2.21.1"}, "tensorflow-text 2.21.1 belongs to another TensorFlow"),
        ({"torch-xla": "2.9"}, "torch-xla 2.9 takes libtpu for itself"),
    ],
)
def test_versions_that_do_not_fit_are_named_with_what_to_type(changes, problem):
    (found,) = host.version_problems(FIT | changes)
    assert problem in found


@pytest.mark.parametrize("name", [None, "local", "my-tpu-1", "t", "grpc://10.0.0.2:8470", "grpc://host.of.mine"])
@pytest.mark.parametrize("zone", [None, "us-central1-b", "europe-west4-a", "asia-northeast1-c"])
def test_names_and_zones_of_the_right_form_pass(name, zone):
    assert host.name_problems(name, zone) == []


@pytest.mark.parametrize("name", ["My-TPU", "tpu_1", "1tpu", "tpu-", "10.0.0.2:8470", "http://host", "a" * 64])
def test_a_name_of_another_form_is_reported(name):
    (found,) = host.name_problems(name, None)
    assert found.startswith(f"--tpu_name={name}: expected a name")


@pytest.mark.parametrize(
    ("zone", "hint"), [("us-central1", ", us-central1 is a region"), ("central", ""), ("US-central1-B", "")]
)
def test_a_zone_of_another_form_is_reported(zone, hint):
    assert host.name_problems(None, zone) == [f"--tpu_zone={zone}: expected a zone such as us-central1-b{hint}"]


def test_strings_and_unknown_shapes_of_batches_are_reported_by_name():
    specs = {
        "input_ids": tf.TensorSpec([8, 128], tf.int32),
        "text": tf.TensorSpec([8], tf.string),
        "labels": tf.TensorSpec([None, 4], tf.int32),
    }
    text, labels = host.shape_problems(specs)
    assert text == "feature 'text': a TPU takes no strings"
    assert labels == "feature 'labels': its shape (None, 4) is not static"


def test_the_speed_of_reading_counts_batches():
    slow = tf.data.Dataset.range(1000).map(lambda x: tf.py_function(_wait, [x], tf.int64), num_parallel_calls=1)
    assert 10 < host.batches_per_second(slow, seconds=0.3) <= 101


def _wait(x: tf.Tensor) -> tf.Tensor:
    import time

    time.sleep(0.01)
    return x
