"""Files of weights: finding them by a path or a hub id, reading arrays by name, and writing.

Two formats are read: "tf1", a name-based checkpoint as TensorFlow 1 writes it, and "hf", a Hugging Face directory with
safetensors or, only on request, pickles (`pytorch_model.bin`), whole or sharded. This module does not interpret names.
"""

import contextlib
import errno
import functools
import glob
import json
import math
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kobert_tf2 import files, hub
from kobert_tf2.errors import InputError

HF_CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PYTORCH_BIN = "pytorch_model.bin"
PYTORCH_INDEX = "pytorch_model.bin.index.json"
GOOGLE_CONFIG = "bert_config.json"
TF1_NAME = "bert_model.ckpt"
KERAS_HUB_METADATA = "metadata.json"


class Source(NamedTuple):
    """The location of weights: the format ("tf1" or "hf"), the folder, a TF1 prefix or "", and the configuration
    file.
    """

    format: str
    folder: str
    prefix: str
    config: str


class Checkpoint(NamedTuple):
    """An open checkpoint: the shape of every name, and a function that reads one array (NumPy's or TensorFlow's)."""

    path: str
    format: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], ArrayLike]


# ------------------------------------------------------------------------------------------------------------------
# Finding
# ------------------------------------------------------------------------------------------------------------------


def find_source(path: str, *, allow_pickle: bool = False, needs_config: bool = True) -> Source:
    """Resolves a path: a folder, the prefix of a TF1 checkpoint or one of its files, otherwise a hub id.

    Several configurations beside the weights raise an `InputError` that asks for one; if none is needed, the source has
    the configuration "".
    """
    path = os.fspath(path)
    if os.path.basename(path) == _NEWEST and files.exists(path):
        path = os.path.dirname(path) or "."
    if files.is_folder(path):
        return _source_in_folder(path.rstrip("/"), allow_pickle, needs_config)
    prefix = _tf1_prefix(path)
    if files.exists(prefix + ".index"):
        return _tf1_source(os.path.dirname(prefix), prefix, needs_config)
    if files.exists(path):
        raise InputError(f"{path}: expected a model directory or a TF1 checkpoint, but this is another file")
    if not hub.is_id(path):
        raise InputError(f"{path}: expected a model directory or a TF1 checkpoint, but nothing has that name")
    return _source_in_folder(
        hub.fetch(path, [*_WANTED, *(_PICKLES if allow_pickle else [])]), allow_pickle, needs_config
    )


_WANTED = (HF_CONFIG, "model*.safetensors", SAFETENSORS_INDEX, *hub.TOKENIZER_FILES)
_PICKLES = ("pytorch_model*.bin", PYTORCH_INDEX)
_NEWEST = "checkpoint"  # the file in which TensorFlow records the latest checkpoint of a folder


def find_source_or_preset(path: str, *, allow_pickle: bool = False, needs_config: bool = True) -> Source:
    """`find_source` that also accepts a keras-hub preset folder, as the format "keras_hub"."""
    path = os.fspath(path)
    if is_keras_hub_preset(path):
        return Source("keras_hub", path, "", f"{path}/{HF_CONFIG}")
    return find_source(path, allow_pickle=allow_pickle, needs_config=needs_config)


def is_keras_hub_preset(path: str) -> bool:
    config = f"{path}/{HF_CONFIG}"
    return files.is_folder(path) and files.exists(config) and "registered_name" in files.read_json(config, dict)


def _tf1_prefix(path: str) -> str:
    """`x.ckpt`, of `x.ckpt`, `x.ckpt.index`, `x.ckpt.meta` or `x.ckpt.data-00000-of-00001`."""
    stem, _, ending = path.rpartition(".")
    return stem if ending in ("index", "meta") or ending.startswith("data-") else path


def _source_in_folder(folder: str, allow_pickle: bool, needs_config: bool) -> Source:
    weights = [SAFETENSORS, SAFETENSORS_INDEX, *([PYTORCH_BIN, PYTORCH_INDEX] if allow_pickle else [])]
    is_hf = any(files.exists(f"{folder}/{name}") for name in weights)
    prefix = None if is_hf else _tf1_prefix_in(folder)
    if prefix:
        return _tf1_source(folder, prefix, needs_config)
    if is_hf or any(files.exists(f"{folder}/{name}") for name in (HF_CONFIG, PYTORCH_BIN, PYTORCH_INDEX)):
        return Source("hf", folder, "", _config_in(folder, (HF_CONFIG, GOOGLE_CONFIG), needs_config))
    raise InputError(
        f"{folder}: expected a model, but there is neither {HF_CONFIG} (a model directory) nor a .index file "
        "(a TF1 checkpoint)"
    )


def _tf1_source(folder: str, prefix: str, needs_config: bool) -> Source:
    return Source("tf1", folder, prefix, _config_in(folder, (GOOGLE_CONFIG, HF_CONFIG), needs_config))


def _tf1_prefix_in(folder: str) -> str | None:
    """The only checkpoint of a folder, or the latest of several; None if there is none."""
    prefixes = [path.removesuffix(".index") for path in files_like(folder, "*.index")]
    if len(prefixes) < 2:
        return next(iter(prefixes), None)
    newest = _newest_in(folder)
    if newest in prefixes:
        _report_once(f"{newest}: of {len(prefixes)} checkpoints the newest, as {folder}/{_NEWEST} says")
        return newest
    raise InputError(
        f"{folder}: expected one checkpoint, but found {len(prefixes)}; name one of "
        f"{', '.join(f'{prefix}.index' for prefix in prefixes)}"
    )


def _newest_in(folder: str) -> str | None:
    """The prefix named in the file `checkpoint`, by its last component: the folder may have been moved."""
    if not files.exists(f"{folder}/{_NEWEST}"):
        return None
    named = re.search(r'^model_checkpoint_path: *"([^"]+)"', files.read_text(f"{folder}/{_NEWEST}"), re.MULTILINE)
    name = re.split(r"[/\\]", named[1])[-1] if named else None
    return name and f"{folder}/{name}"


def _config_in(folder: str, usual: tuple[str, str], needs_config: bool) -> str:
    """The configuration beside weights: the first usual name, a longer one (`bert_config_x.json`), then the second."""
    first, second = (os.path.join(folder, name) for name in usual)
    if files.exists(first):
        return first
    others = [
        path for path in files_like(folder or ".", "*bert_config*.json") if os.path.basename(path) not in _NO_BERT
    ]
    if not others and not files.exists(second):
        others = [path for path in files_like(folder or ".", "config_*.json") if os.path.basename(path) not in _NO_BERT]
    if len(others) > 1 and needs_config:
        raise InputError(
            f"{folder or '.'}: expected one configuration, but found {', '.join(others)}; name one with "
            "--bert_config_file, or leave the one that belongs to the weights"
        )
    if others:
        return others[0] if len(others) == 1 else ""
    return second if files.exists(second) else first


_NO_BERT = {"sentence_bert_config.json", "config_sentence_transformers.json"}


@functools.cache
def _report_once(message: str) -> None:
    print(message, file=sys.stderr)


def files_like(folder: str, pattern: str) -> list[str]:
    """The paths of a folder's files that a glob matches, sorted."""
    try:
        return files.match([f"{glob.escape(folder)}/{pattern}"])
    except InputError:
        return []


# ------------------------------------------------------------------------------------------------------------------
# Reading
# ------------------------------------------------------------------------------------------------------------------


def open_checkpoint(path: str, *, allow_pickle: bool = False) -> contextlib.AbstractContextManager[Checkpoint]:
    return open_source(find_source(path, allow_pickle=allow_pickle), allow_pickle=allow_pickle)


@contextlib.contextmanager
def open_source(source: Source, *, allow_pickle: bool = False) -> Iterator[Checkpoint]:
    """Opens the weights of a source. Arrays are read one at a time, on request."""
    with contextlib.ExitStack() as stack:
        if source.format == "tf1":
            yield _open_tf1(source.prefix)
        elif files.exists(f"{source.folder}/{SAFETENSORS}"):
            yield _open_safetensors(source.folder, {SAFETENSORS: []}, stack)
        elif files.exists(f"{source.folder}/{SAFETENSORS_INDEX}"):
            yield _open_safetensors(source.folder, _shards(f"{source.folder}/{SAFETENSORS_INDEX}"), stack)
        elif files.exists(f"{source.folder}/{PYTORCH_BIN}"):
            yield _open_pickles(source.folder, {PYTORCH_BIN: []}, allow_pickle, stack)
        elif files.exists(f"{source.folder}/{PYTORCH_INDEX}"):
            shards = _shards(f"{source.folder}/{PYTORCH_INDEX}")
            yield _open_pickles(source.folder, shards, allow_pickle, stack)
        else:
            raise InputError(
                f"{source.folder}: expected {SAFETENSORS}, but it is not there; if the model has only {PYTORCH_BIN}, "
                "convert that: tools/convert_checkpoint.py --allow_pickle"
            )


def _open_tf1(prefix: str) -> Checkpoint:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(files.without_glob(prefix))
    except Exception as error:
        raise InputError(f"{prefix}: TensorFlow cannot open it as a checkpoint ({files.first_line(error)})") from None
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    if _OBJECT_GRAPH in shapes:
        raise InputError(
            f"{prefix}: expected a checkpoint of named variables (TF1), but this is one of TF2 objects; load it with "
            "the program that wrote it and save a model directory"
        )
    types = reader.get_variable_to_dtype_map()
    return Checkpoint(prefix, "tf1", shapes, lambda name: _read_tf1(prefix, name, types[name]))


_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def _read_tf1(prefix: str, name: str, dtype: Any) -> Any:
    """Reads a tensor into memory that a variable can take over; `get_tensor` would hold two copies."""
    import tensorflow as tf

    readable = files.without_glob(prefix)
    try:
        (tensor,) = tf.raw_ops.RestoreV2(prefix=readable, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
    except Exception as error:
        raise InputError(
            f"{prefix}: {name} cannot be read, the data file is cut short, damaged or missing "
            f"({files.first_line(error)})"
        ) from None
    return tensor


def _open_safetensors(folder: str, shards: dict[str, list[str]], stack: contextlib.ExitStack) -> Checkpoint:
    holders, shapes = {}, {}
    for shard, indexed in shards.items():
        path = _local_copy(f"{folder}/{shard}", stack)
        with _safe_open(path) as file:
            names = file.keys()
            _check_shard(f"{folder}/{shard}", names, indexed)
            holders.update(dict.fromkeys(names, path))
            shapes.update({name: tuple(file.get_slice(name).get_shape()) for name in names})
    return Checkpoint(folder, "hf", shapes, lambda name: _read_safetensors(holders[name], name))


def _read_safetensors(path: str, name: str) -> np.ndarray:
    """One array through a memory map of its own: pages that were read count as memory until their map is closed."""
    with _safe_open(path) as file:
        try:
            return file.get_tensor(name)
        except Exception as error:  # a type that NumPy does not have
            raise InputError(f"{path}: {name} cannot be read ({files.first_line(error)})") from None


def _safe_open(path: str) -> Any:
    import ml_dtypes  # noqa: F401 -- gives NumPy the bfloat16 that a file may hold
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({files.first_line(error)})") from None


def _local_copy(path: str, stack: contextlib.ExitStack) -> str:
    """A file as the safetensors library can map it: a remote one is copied first."""
    if not files.is_remote(path):
        return path
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    with files.open_binary(path) as remote, open(f"{folder}/copy", "wb") as local:
        shutil.copyfileobj(remote, local, 1 << 24)
    return f"{folder}/copy"


def _shards(index: str) -> dict[str, list[str]]:
    """The shards of an index, each a file name in the folder of the index, with the weights in it."""
    weight_map = files.read_json(index, dict).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f'{index}: expected a JSON object with "weight_map", the file of each weight')
    shards: dict[str, list[str]] = {}
    for weight, shard in weight_map.items():
        if not isinstance(shard, str) or os.path.basename(shard) != shard or shard in ("", ".", ".."):
            raise InputError(f"{index}: expected names of files in this folder, but found {shard!r:.200}")
        shards.setdefault(shard, []).append(weight)
    for shard in sorted(shards):
        if not files.exists(f"{os.path.dirname(index)}/{shard}"):
            raise InputError(f"{index}: names {shard:.200}, but there is no such file beside it")
    return dict(sorted(shards.items()))


def _check_shard(path: str, names: Collection[str], indexed: list[str]) -> None:
    absent = sorted(set(indexed) - set(names))
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"{path}: the index says that it holds {absent[0]:.200}{more}, but it does not")


def _open_pickles(
    folder: str, shards: dict[str, list[str]], allow_pickle: bool, stack: contextlib.ExitStack
) -> Checkpoint:
    if not allow_pickle:
        raise InputError(
            f"{folder}/{next(iter(shards))}: a pickle can run code when it is loaded; ask for it with "
            f"allow_pickle=True (--allow_pickle) if you trust it, or get the model's {SAFETENSORS}"
        )
    tensors: dict = {}
    for shard, indexed in shards.items():
        held = _read_pickle(_local_copy(f"{folder}/{shard}", stack), f"{folder}/{shard}")
        _check_shard(f"{folder}/{shard}", held, indexed)
        tensors |= held
    path = f"{folder}/{next(iter(shards))}" if len(shards) == 1 else folder
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Checkpoint(path, "hf", shapes, lambda name: _to_numpy(tensors[name]))


def _read_pickle(local: str, path: str) -> dict:
    """The tensors of a file that `torch.save` wrote, by name; code in the file is never run."""
    try:
        import torch
    except ImportError:
        raise InputError(f"{path}: reading it needs PyTorch: pip install 'kobert_tf2[torch]'") from None
    try:
        is_mapped = zipfile.is_zipfile(local)  # PyTorch wrote no zip files before 1.6, and can map nothing else
        tensors = torch.load(local, map_location="cpu", weights_only=True, mmap=is_mapped)
    except Exception as error:
        raise InputError(f"{path}: PyTorch cannot read it as weights ({files.first_line(error)})") from None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        kinds = sorted({type(value).__name__ for value in tensors.values()}) if isinstance(tensors, dict) else []
        found = f"a dict of {', '.join(kinds)}" if kinds else type(tensors).__name__
        raise InputError(f"{path}: expected the weights alone, tensors by their names, but found {found}")
    return tensors


def _to_numpy(tensor: Any) -> np.ndarray:
    """NumPy has no bfloat16 of its own; whole numbers stay what they are."""
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()


# ------------------------------------------------------------------------------------------------------------------
# Writing
# ------------------------------------------------------------------------------------------------------------------


def write_safetensors(path: str, shapes: dict[str, tuple[int, ...]], read: Callable[[str], np.ndarray]) -> None:
    """Writes float32 arrays of these names and shapes, reading each when it is written.

    The safetensors library needs all arrays in memory at once, which would double the peak. The format is simple: the
    length of the header (8 bytes, little-endian), a JSON header, the numbers. `transformers` requires the metadata.
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

    `prefix` is on a local disk, in a folder that is there. TensorFlow writes all of them in one call, so they are in
    memory together, but once each: an array is released as soon as its tensor exists.
    """
    import tensorflow as tf

    names = sorted(names)
    tensors = [tf.convert_to_tensor(read(name)) for name in names]
    try:
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    except tf.errors.OpError as error:  # A full disk: "path; No space left on device [Op:SaveV2]"
        reason = error.message.rpartition("; ")[2].removesuffix(" [Op:SaveV2]")
        raise OSError(errno.EIO, f"TensorFlow cannot write it ({reason[:200]})", prefix) from None
