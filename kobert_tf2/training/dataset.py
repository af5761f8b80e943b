"""The `tf.data` dataset that a run trains on, made from arrays. Its iterator's position can be saved and restored."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError


def dataset_of_batches(features: dict[str, np.ndarray], batches: Sequence) -> tf.data.Dataset:
    """A dataset of the batches (`rows`, `width`) in order, repeated indefinitely.

    `features` are arrays [rows, ...]; those with two axes are truncated to the batch's width. The underlying dataset
    holds only row numbers, so that the saved state of an iterator is small. Each batch gets `example_weight`, which is
    0 for the row number -1.
    """
    if not batches:
        raise InputError("expected rows to train on, but there are none")
    tensors = {name: tf.constant(value) for name, value in features.items()}
    rows = np.stack([batch.rows for batch in batches]).astype(np.int32)
    widths = np.array([batch.width for batch in batches], np.int32)

    def cut(rows: tf.Tensor, width: tf.Tensor) -> dict[str, tf.Tensor]:
        real = tf.maximum(rows, 0)
        batch = {name: tf.gather(value, real) for name, value in tensors.items()}
        batch = {name: value[:, :width] if value.shape.rank == 2 else value for name, value in batch.items()}
        return batch | {"example_weight": tf.cast(rows >= 0, tf.float32)}

    return tf.data.Dataset.from_tensor_slices((rows, widths)).repeat().map(cut).prefetch(4)
