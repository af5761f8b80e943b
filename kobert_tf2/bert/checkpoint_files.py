"""Files of weights: found by a path or a hub id, opened for reading by name, and written.

Two formats are read: "tf1", a checkpoint of named variables as TensorFlow 1 writes it, and "hf", a Hugging Face
directory with safetensors (whole or in shards) or, only where asked for, a `pytorch_model.bin`. Nothing here knows
what a name means.
"""

import contextlib
import glob
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kobert_tf2 import files, hub
from kobert_tf2.errors import InputError

HF_CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PYTORCH_BIN = "pytorch_model.bin"
GOOGLE_CONFIG = "bert_config.json"
TF1_NAME = "bert_model.ckpt"
KERAS_HUB_METADATA = "metadata.json"


class Source(NamedTuple):
    """Where weights are: the format ("tf1" or "hf"), the folder, a TF1 prefix or "", and the configuration file."""

    format: str
    folder: str
    prefix: str
    config: str


class Checkpoint(NamedTuple):
    """An open checkpoint: every name with its shape, and a function that reads one array, NumPy's or TensorFlow's."""

    path: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], ArrayLike]


# ------------------------------------------------------------------------------------------------------------------
# Finding
# ------------------------------------------------------------------------------------------------------------------


def find_source(path: str, *, allow_pickle: bool = False) -> Source:
    """What a path names: a folder, a TF1 checkpoint's prefix or one of its files, or else a model of the hub."""
    path = os.fspath(path)
    if files.is_folder(path):
        return _source_in_folder(path.rstrip("/"))
    prefix = _tf1_prefix(path)
    if files.exists(prefix + ".index"):
        return Source("tf1", os.path.dirname(prefix), prefix, os.path.join(os.path.dirname(prefix), GOOGLE_CONFIG))
    if files.exists(path):
        raise InputError(f"{path}: expected a model directory or a TF1 checkpoint, but this is another file")
    if not hub.is_id(path):
        raise InputError(f"{path}: expected a model directory or a TF1 checkpoint, but nothing has that name")
    return _source_in_folder(hub.fetch(path, [*_WANTED, *([PYTORCH_BIN] if allow_pickle else [])]))


_WANTED = (HF_CONFIG, "model*.safetensors", SAFETENSORS_INDEX, *hub.TOKENIZER_FILES)


def find_source_or_preset(path: str, *, allow_pickle: bool = False) -> Source:
    """`find_source`, for which a keras-hub preset folder is a source too, of the format "keras_hub"."""
    path = os.fspath(path)
    if is_keras_hub_preset(path):
        return Source("keras_hub", path, "", f"{path}/{HF_CONFIG}")
    return find_source(path, allow_pickle=allow_pickle)


def is_keras_hub_preset(path: str) -> bool:
    config = f"{path}/{HF_CONFIG}"
    return files.is_folder(path) and files.exists(config) and "registered_name" in files.read_json(config, dict)


def _tf1_prefix(path: str) -> str:
    """`x.ckpt`, of `x.ckpt`, `x.ckpt.index` or `x.ckpt.data-00000-of-00001`."""
    stem, _, ending = path.rpartition(".")
    return stem if ending == "index" or ending.startswith("data-") else path


def _source_in_folder(folder: str) -> Source:
    if files.exists(f"{folder}/{HF_CONFIG}"):
        return Source("hf", folder, "", f"{folder}/{HF_CONFIG}")
    indexes = files_like(folder, "*.index")
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


def files_like(folder: str, pattern: str) -> list[str]:
    """The paths of a folder's files that a glob matches, sorted."""
    try:
        return files.match([f"{glob.escape(folder)}/{pattern}"])
    except InputError:
        return []


# ------------------------------------------------------------------------------------------------------------------
# Reading
# ------------------------------------------------------------------------------------------------------------------


def open_checkpoint(path: str, *, allow_pickle: bool = False):
    return open_source(find_source(path, allow_pickle=allow_pickle), allow_pickle=allow_pickle)


@contextlib.contextmanager
def open_source(source: Source, *, allow_pickle: bool = False) -> Iterator[Checkpoint]:
    """Opens the weights of a source. Arrays are read one at a time, when asked for."""
    with contextlib.ExitStack() as stack:
        if source.format == "tf1":
            yield _open_tf1(source.prefix)
        elif files.exists(f"{source.folder}/{SAFETENSORS}"):
            yield _open_safetensors(source.folder, [SAFETENSORS], stack)
        elif files.exists(f"{source.folder}/{SAFETENSORS_INDEX}"):
            yield _open_safetensors(source.folder, _shards(f"{source.folder}/{SAFETENSORS_INDEX}"), stack)
        elif files.exists(f"{source.folder}/{PYTORCH_BIN}"):
            yield _open_pickle(f"{source.folder}/{PYTORCH_BIN}", allow_pickle)
        else:
            raise InputError(f"{source.folder}: expected {SAFETENSORS}, but it is not there")


def _open_tf1(prefix: str) -> Checkpoint:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
    except Exception as error:
        raise InputError(f"{prefix}: TensorFlow cannot open it as a checkpoint ({_first_line(error)})") from None
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    if _OBJECT_GRAPH in shapes:
        raise InputError(
            f"{prefix}: expected a checkpoint of named variables (TF1), but this is one of TF2 objects; load it with "
            "the program that wrote it and save a model directory"
        )
    types = reader.get_variable_to_dtype_map()
    return Checkpoint(prefix, "tf1", shapes, lambda name: _read_tf1(prefix, name, types[name]))


_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def _read_tf1(prefix: str, name: str, dtype):
    """A tensor in the memory that it was read into, which a variable takes over; `get_tensor` makes two of it."""
    import tensorflow as tf

    try:
        (tensor,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
    except Exception as error:
        raise InputError(
            f"{prefix}: {name} cannot be read, the data file is cut short, damaged or missing ({_first_line(error)})"
        ) from None
    return tensor


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _open_safetensors(folder: str, names: list[str], stack: contextlib.ExitStack) -> Checkpoint:
    holders, shapes = {}, {}
    for name in names:
        path = _local_copy(f"{folder}/{name}", stack)
        with _safe_open(path) as file:
            names_here = file.keys()
            holders.update(dict.fromkeys(names_here, path))
            shapes.update({name: tuple(file.get_slice(name).get_shape()) for name in names_here})
    return Checkpoint(folder, "hf", shapes, lambda name: _read_safetensors(holders[name], name))


def _read_safetensors(path: str, name: str) -> np.ndarray:
    """One array, through a map of its own: pages that were read count as memory until their map is closed."""
    with _safe_open(path) as file:
        return file.get_tensor(name)


def _safe_open(path: str):
    import ml_dtypes  # noqa: F401 -- gives NumPy the bfloat16 that a file may hold
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({_first_line(error)})") from None


def _local_copy(path: str, stack: contextlib.ExitStack) -> str:
    """A file as the safetensors library can map it: a remote one is copied first."""
    if not files.is_remote(path):
        return path
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    with files.open_binary(path) as remote, open(f"{folder}/copy", "wb") as local:
        shutil.copyfileobj(remote, local, 1 << 24)
    return f"{folder}/copy"


def _shards(index: str) -> list[str]:
    """The files that an index of shards names; each must be a name in the index's own folder."""
    values = files.read_json(index)
    if not isinstance(values, dict) or not isinstance(values.get("weight_map"), dict):
        raise InputError(f'{index}: expected a JSON object with "weight_map"')
    names = sorted(set(values["weight_map"].values()))
    for name in names:
        if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
            raise InputError(f"{index}: expected names of files in this folder, but found {name!r}")
        if not files.exists(f"{os.path.dirname(index)}/{name}"):
            raise InputError(f"{index}: names {name}, but there is no such file beside it")
    return names


def _open_pickle(path: str, allow_pickle: bool) -> Checkpoint:
    if not allow_pickle:
        raise InputError(
            f"{path}: a pickle can run code when it is loaded; ask for it with allow_pickle=True (--allow_pickle) "
            f"if you trust it, or get the model's {SAFETENSORS}"
        )
    try:
        import torch
    except ImportError:
        raise InputError(f"{path}: reading it needs PyTorch: pip install 'kobert_tf2[torch]'") from None
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise InputError(f"{path}: PyTorch cannot read it as weights ({_first_line(error)})") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Checkpoint(path, "hf", shapes, lambda name: tensors[name].float().numpy())


# ------------------------------------------------------------------------------------------------------------------
# Writing
# ------------------------------------------------------------------------------------------------------------------


def write_safetensors(path: str, shapes: dict[str, tuple[int, ...]], read: Callable[[str], np.ndarray]) -> None:
    """Writes float32 arrays of these names and shapes, each read when its turn comes.

    The safetensors library wants all arrays in memory at once; a BERT and a copy of it are too much where memory is
    counted, and the format is plain: the header's length (8 bytes, little-endian), a JSON header, the numbers. The
    metadata is what `transformers` asks of a file before it loads it.
    """
    names = sorted(shapes)
    ends = np.cumsum([4 * math.prod(shapes[name]) for name in names]).tolist()
    header: dict = {"__metadata__": {"format": "pt"}}
    for name, start, end in zip(names, [0, *ends], ends, strict=False):
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that the numbers begin at a multiple of 8
    with files.whole_file(path, "wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in names:
            array = np.asarray(read(name), "<f4", order="C")
            if array.shape != tuple(shapes[name]):
                raise ValueError(f"{name}: expected the shape {shapes[name]}, but read {array.shape}")
            file.write(array.data)


def write_tf1(prefix: str, names: Iterable[str], read: Callable[[str], ArrayLike]) -> None:
    """Writes a checkpoint of named variables, `prefix`.index and .data-*, which TensorFlow 1 restores by name.

    `prefix` is on a local disk, in a folder that is there. TensorFlow writes them all in one call, so they are in
    memory together, but once each: an array is let go as soon as its tensor is made.
    """
    import tensorflow as tf

    names = sorted(names)
    tensors = [tf.convert_to_tensor(read(name)) for name in names]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
