"""Dropout whose masks come from a counter, written with `keras` and `keras.ops` alone.

A mask is a pure function of (seed, site, element): a hash of the element's index, keyed by the seed and the name of the
dropout layer. So a resumed run draws the same masks again, replicas and micro-batches with different seeds draw
different ones, and graph, eager, XLA and all backends draw the same. A counter's hash can also be fused with other
arithmetic, where the state of a generator would need a pass of its own.
"""

import contextlib
import functools
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import keras
from keras import ops

_active_seed = threading.local()


@contextlib.contextmanager
def dropout_seed(seed: keras.KerasTensor) -> Iterator[None]:
    """Within this context every dropout layer draws its mask from `seed`, an int32 tensor [2].

    The context is read while a call is traced, and belongs to one thread: MirroredStrategy traces its replicas in
    threads. Outside any context (`model.fit`) a layer draws from its own `keras.random.SeedGenerator`.
    """
    previous = getattr(_active_seed, "value", None)
    _active_seed.value = seed
    try:
        yield
    finally:
        _active_seed.value = previous


def masks_repeat() -> bool:
    """Whether a call that is traced twice draws the same masks: within `dropout_seed`, not from a generator."""
    return getattr(_active_seed, "value", None) is not None


def _low_bits(x: keras.KerasTensor) -> keras.KerasTensor:
    """Truncates to 32 bits on a backend that has no uint32 and widens it (torch); free elsewhere."""
    return x if keras.backend.standardize_dtype(x.dtype) == "uint32" else ops.bitwise_and(x, 0xFFFFFFFF)


def _uint32(value: int) -> keras.KerasTensor:
    return ops.convert_to_tensor(value, dtype="uint32")


def _round(x: keras.KerasTensor, shift: int, multiplier: int) -> keras.KerasTensor:
    """Half a round of an integer hash on uint32 of any shape: xor with the shifted value, times an odd constant."""
    return _low_bits(ops.bitwise_xor(x, ops.right_shift(x, shift)) * _uint32(multiplier))


def _hash(x: keras.KerasTensor) -> keras.KerasTensor:
    """Chris Wellons' "lowbias32" (nullprogram.com, 2018): two rounds and a final xor, a bijection on uint32."""
    x = _round(_round(x, 16, 0x7FEB352D), 15, 0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, 16))


def dropout_key(seed: keras.KerasTensor, site: int) -> keras.KerasTensor:
    """The uint32 key [2] of the dropout layer with the number `site`, under `seed`, an integer tensor [2].

    The seed is hashed before the site is added, so that small numbers in both cannot cancel out.
    """
    low, high = ops.unstack(_low_bits(ops.cast(seed, "uint32")), num=2)
    low = _hash(ops.bitwise_xor(low, _uint32(0x9E3779B9)))
    high = _hash(ops.bitwise_xor(high, low))
    first = _hash(ops.bitwise_xor(low, _uint32(site)))
    return ops.stack([first, _hash(_low_bits(high + first))])


def _counter(shape: tuple, key: keras.KerasTensor) -> keras.KerasTensor:
    """The number of every element of a tensor of `shape`, as uint32 [elements / last, last].

    `key`, any uint32 scalar, adds nothing. But without it the numbers are constants, and TensorFlow computes them while
    it lowers a graph for XLA: megabytes in the program for each dropout layer, in place of an iota.
    """
    rows = functools.reduce(lambda a, b: a * b, shape[:-1], 1)
    starts = ops.cast(ops.arange(rows, dtype="int32"), "uint32") * ops.cast(shape[-1], "uint32")
    columns = ops.cast(ops.arange(shape[-1], dtype="int32"), "uint32") + ops.bitwise_and(key, _uint32(0))
    return _low_bits(ops.expand_dims(starts, 1) + columns)


def keep_mask(shape: tuple, key: keras.KerasTensor, rate: float) -> keras.KerasTensor:
    """Which elements of a tensor of `shape` are kept: bool, each independently False with probability `rate` (to
    2**-32).

    The element's index is hashed with half of the key before each round, and the result is compared with the rate.
    """
    first, second = ops.unstack(key, num=2)
    x = _round(ops.bitwise_xor(_counter(shape, second), first), 16, 0x7FEB352D)
    x = _round(_low_bits(x + second), 15, 0x846CA68B)
    x = ops.bitwise_xor(x, ops.right_shift(x, 16))
    return ops.reshape(x >= _uint32(min(round(rate * 2**32), 2**32 - 1)), shape)


class Drop(NamedTuple):
    """The key and the rate of one application of dropout."""

    key: object
    rate: float


def drop_out(x: keras.KerasTensor, drop: Drop | None) -> keras.KerasTensor:
    """`x` with dropped elements set to 0 and the others scaled by 1 / (1 - rate); unchanged if `drop` is None."""
    if drop is None:
        return x
    kept = ops.cast(keep_mask(ops.shape(x), drop.key, drop.rate), x.dtype)
    return x * (kept * ops.cast(1 / (1 - drop.rate), x.dtype))


@keras.saving.register_keras_serializable(package="kobert_tf2")
class Dropout(keras.layers.Layer):
    """Dropout with masks that are a function of `dropout_seed` and of `site`, a name that is unique in the model."""

    def __init__(self, rate: float, *, site: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.site = site
        self.seed_generator = keras.random.SeedGenerator(name=f"{site}_seed".replace("/", "_")) if rate else None
        self.supports_masking = True
        self.built = True

    def drop(self, training: bool | None) -> Drop | None:
        """The key of this call, or None if nothing is dropped."""
        if not training or self.seed_generator is None:
            return None
        seed = getattr(_active_seed, "value", None)
        if seed is None:
            seed = self.seed_generator.next()
        return Drop(dropout_key(seed, zlib.crc32(self.site.encode())), self.rate)

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        return drop_out(x, self.drop(training))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        return dict(super().get_config(), rate=self.rate, site=self.site)
