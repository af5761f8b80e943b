"""Translates TensorFlow's errors for the user of a run: one sentence each, with a remedy."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from kobert_tf2.errors import InputError

WORKER_IS_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)


def reason(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(getattr(error, "message", "") or error).strip().splitlines() or [type(error).__name__])[0]


def data_error(step: int, error: tf.errors.OpError) -> InputError:
    return InputError(f"reading the training data failed after step {step}: {reason(error)}")


def disk_error(output_dir: str | None, step: int, error: Exception) -> InputError:
    return InputError(
        f"{output_dir}: the checkpoint of step {step} could not be written ({reason(error)}); is the disk full? "
        "Earlier checkpoints are as they were, and the same command goes on from the newest of them"
    )


def out_of_memory(step: int, error: tf.errors.ResourceExhaustedError) -> InputError:
    return InputError(
        f"out of memory in step {step}: set --micro_batch_size to a part of the batch, give --recompute, or lower "
        f"--train_batch_size or --max_seq_length, or use --precision=bfloat16 ({reason(error)[:200]})"
    )


def lost_worker(when: str, error: Exception) -> InputError:
    causes = [line.rpartition("aborted by: ")[2] for line in str(error).splitlines() if "aborted by: " in line]
    return InputError(
        f"another worker is gone {when} ({(causes or [reason(error)])[0][:200]}); give the same command on all workers "
        "again, and the run goes on from its newest checkpoint"
    )


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """Context manager for a forward pass that all workers execute together."""
    try:
        yield
    except WORKER_IS_GONE as error:
        raise lost_worker("in the evaluation", error) from error
