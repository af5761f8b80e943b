"""Summaries of TensorFlow's errors in one sentence."""

import pytest
import tensorflow as tf

from kobert_tf2.training import failures


def error(kind: type, message: str) -> tf.errors.OpError:
    return kind(None, None, message)


def test_the_reason_is_the_first_line_of_a_message():
    assert failures.reason(error(tf.errors.InternalError, "\nfirst\nsecond")) == "first"
    assert failures.reason(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    "kind",
    [tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError],
)
def test_a_lost_worker_is_what_the_collective_operation_says_of_it(kind):
    """The heartbeat's Deadline Exceeded was a traceback on the worker whose link broke."""
    raised = error(
        kind, "Graph execution error:\nmany lines\nCollective ops is aborted by: Connection reset by peer\nRPC: /x"
    )
    assert isinstance(raised, failures.WORKER_IS_GONE)
    said = str(failures.lost_worker("in step 7", raised))
    assert said.startswith("another worker is gone in step 7 (Connection reset by peer); give the same command on all ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: failures.data_error(3, error(tf.errors.DataLossError, "corrupted record at 12\nmore")),
            "after step 3: c",
        ),
        (
            lambda: failures.disk_error("/out", 5, OSError(28, "No space left on device")),
            "/out: the checkpoint of step 5",
        ),
        (
            lambda: failures.out_of_memory(2, error(tf.errors.ResourceExhaustedError, "OOM " * 200)),
            "out of memory in step 2: set --micro_batch_size",
        ),
    ],
)
def test_other_failures_name_the_step_and_are_one_line(made, said):
    sentence = str(made())
    assert said in sentence
    assert "\n" not in sentence
    assert len(sentence) < 500
