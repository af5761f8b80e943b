"""Keeps the weights of several processes that load the same model in one piece of memory.

Within `sharing`, `placed` puts each weight into an anonymous file in memory: the first process writes it there, the
others map what is there after comparing it, bit for bit, with what they have read themselves. All of them must place
the same weights in the same order. The mapping is private (copy-on-write): no process can change another's weights.

The mapped memory becomes a tensor through DLPack without a copy, and a variable takes over the memory of a tensor that
is assigned to it. Replacing weights after loading would not do: TensorFlow's allocator with oneDNN keeps freed memory.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from kobert_tf2.errors import InputError

_OTHERS = (
    "expected the weights that the other workers serve, but the files of the model hold others: start the service again"
)


class _File:
    def __init__(self, descriptor: int):
        self._descriptor, self._end = descriptor, 0

    def place(self, values: Any, dtype: Any) -> tf.Tensor:
        tensor = tf.cast(values, dtype)
        array = np.ascontiguousarray(tensor.numpy())
        if not array.nbytes:
            return tensor
        begin, self._end = self._end, self._end + -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        content = array.reshape(-1).view(np.uint8)
        size = os.fstat(self._descriptor).st_size
        is_first = size <= begin
        if is_first:
            os.ftruncate(self._descriptor, self._end)
        access = mmap.PROT_READ | mmap.PROT_WRITE
        if is_first:
            with mmap.mmap(self._descriptor, array.nbytes, mmap.MAP_SHARED, access, offset=begin) as written:
                written[:] = content.tobytes()
        elif size < self._end:
            raise InputError(_OTHERS)
        mapped = mmap.mmap(self._descriptor, self._end - begin, mmap.MAP_PRIVATE, access, offset=begin)
        held, rest = np.split(np.frombuffer(mapped, np.uint8), [array.nbytes])
        if rest.any() or not np.array_equal(held, content):
            raise InputError(_OTHERS)
        # DLPack has no name for NumPy's bfloat16; the bitcast makes no copy.
        plain = held.view(f"u{array.itemsize}").reshape(tensor.shape)
        return tf.bitcast(tf.experimental.dlpack.from_dlpack(plain.__dlpack__()), dtype)


_file: _File | None = None


@contextlib.contextmanager
def sharing(descriptor: int) -> Iterator[None]:
    """Models loaded within share their weights through this file, of `os.memfd_create`: the memory exists as long as a
    process holds it open.
    """
    global _file
    _file = _File(descriptor)
    try:
        yield
    finally:
        _file = None


def placed(values: Any, dtype: Any) -> Any:
    """The values of a weight, in shared memory as a tensor of this type within `sharing`; elsewhere as they are.

    Raises:
        InputError: another process has placed other values.
    """
    return values if _file is None else _file.place(values, dtype)
