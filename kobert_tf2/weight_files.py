"""Files of weights: found by a path or a hub id, opened for reading by name, and written.

Two formats are read: "tf1", a checkpoint of named variables as TensorFlow 1 writes it, and "hf", a Hugging Face
directory with safetensors (whole or in shards) or, only where asked for, a `pytorch_model.bin`. Nothing here knows
what a name means.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from kobert_tf2 import files
from kobert_tf2.errors import InputError

HF_CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PYTORCH_BIN = "pytorch_model.bin"
GOOGLE_CONFIG = "bert_config.json"
TF1_NAME = "bert_model.ckpt"


class Source(NamedTuple):
    """Where weights are: the format, the folder, a TF1 prefix or "" and the configuration file."""

    format: str
    folder: str
    prefix: str
    config: str


class Checkpoint(NamedTuple):
    """An open checkpoint: every name with its shape, and a function that reads one array."""

    path: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


# ------------------------------------------------------------------------------------------------------------------
# Finding
# ------------------------------------------------------------------------------------------------------------------


def find_source(path: str) -> Source:
    """What a path names: a folder, a TF1 checkpoint's prefix or one of its files, or else a hub id."""
    path = os.fspath(path).rstrip("/")
    if files.is_folder(path):
        return _source_in_folder(path)
    prefix = _tf1_prefix(path)
    if files.exists(prefix + ".index"):
        return Source("tf1", os.path.dirname(prefix), prefix, os.path.join(os.path.dirname(prefix), GOOGLE_CONFIG))
    raise InputError(f"{path}: expected a model directory or a TF1 checkpoint, but there is nothing of that name")


def _tf1_prefix(path: str) -> str:
    """`x.ckpt`, of `x.ckpt`, `x.ckpt.index` or `x.ckpt.data-00000-of-00001`."""
    stem, _, ending = path.rpartition(".")
    return stem if ending == "index" or ending.startswith("data-") else path


def _source_in_folder(folder: str) -> Source:
    if files.exists(f"{folder}/{HF_CONFIG}"):
        return Source("hf", folder, "", f"{folder}/{HF_CONFIG}")
    indexes = files.match(f"{folder}/*.index") if _has(folder, ".index") else []
    if len(indexes) == 1:
        return Source("tf1", folder, indexes[0].removesuffix(".index"), f"{folder}/{GOOGLE_CONFIG}")
    if indexes:
        raise InputError(
            f"{folder}: expected one checkpoint, but found {len(indexes)}; name one of {', '.join(indexes)}"
        )
    raise InputError(
        f"{folder}: expected a model, but there is neither {HF_CONFIG} (a model directory) nor a .index file "
        "(a TF1 checkpoint)"
    )


def _has(folder: str, ending: str) -> bool:
    names = os.listdir(folder) if not files.is_remote(folder) else files._gfile().listdir(folder)
    return any(name.endswith(ending) for name in names)


# ------------------------------------------------------------------------------------------------------------------
# Reading
# ------------------------------------------------------------------------------------------------------------------


def open_checkpoint(path: str, *, allow_pickle: bool = False):
    return open_source(find_source(path), allow_pickle=allow_pickle)


@contextlib.contextmanager
def open_source(source: Source, *, allow_pickle: bool = False) -> Iterator[Checkpoint]:
    """Opens the weights of a source. Arrays are read one at a time, when asked for."""
    with contextlib.ExitStack() as stack:
        if source.format == "tf1":
            yield _open_tf1(source.prefix)
        elif files.exists(f"{source.folder}/{SAFETENSORS}"):
            yield _open_safetensors(source.folder, [SAFETENSORS], stack)
        else:
            raise InputError(f"{source.folder}: expected {SAFETENSORS}, but it is not there")


def _open_tf1(prefix: str) -> Checkpoint:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
    except Exception as error:
        raise InputError(f"{prefix}: not a TensorFlow checkpoint ({_first_line(error)})") from None

    def read(name: str) -> np.ndarray:
        try:
            return reader.get_tensor(name)
        except Exception as error:
            raise InputError(
                f"{prefix}: {name} cannot be read: the data file is cut short or damaged ({_first_line(error)})"
            ) from None

    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    return Checkpoint(prefix, "tf1", shapes, read)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _open_safetensors(folder: str, names: list[str], stack: contextlib.ExitStack) -> Checkpoint:
    from safetensors import safe_open

    holders = {}
    for name in names:
        file = stack.enter_context(safe_open(f"{folder}/{name}", framework="np"))
        holders.update(dict.fromkeys(file.keys(), file))
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in holders.items()}
    return Checkpoint(folder, "hf", shapes, lambda name: holders[name].get_tensor(name))


# ------------------------------------------------------------------------------------------------------------------
# Writing
# ------------------------------------------------------------------------------------------------------------------


def write_safetensors(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes float arrays under Hugging Face names. The metadata is what `transformers` asks of a file before it
    loads it."""
    from safetensors.numpy import save_file

    save_file(arrays, path, metadata={"format": "pt"})
