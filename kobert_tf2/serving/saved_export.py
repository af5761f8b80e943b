"""Finds and reads an export of `export.py`: its settings, vocabulary and model, or raises a one-sentence error."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.serving.export import SETTINGS_FILE, check_vocabulary
from kobert_tf2.serving.signatures import HEADS, TEXT_SIGNATURES
from kobert_tf2.tokenization.tokenizer import Tokenizer


class SavedExport(NamedTuple):
    """The contents of an export's folder.

    `forward` is its signature `serving_default`, with int32 [batch, sequence] keyword arguments; it is valid as long as
    `keep_alive` exists.
    """

    path: str
    about: dict[str, Any]
    config: BertConfig
    tokenizer: Tokenizer
    forward: Callable[..., dict[str, tf.Tensor]]
    keep_alive: Any


def find_export(path: str) -> str | None:
    """The SavedModel at `path`: `path` itself, or its numbered folder with the highest number, or else None."""
    if files.exists(f"{path}/saved_model.pb"):
        return path
    if not files.is_folder(path) or files.exists(f"{path}/config.json"):
        return None
    numbered = [name.rstrip("/") for name in tf.io.gfile.listdir(path)]
    versions = [int(name) for name in numbered if name.isdecimal() and files.exists(f"{path}/{name}/saved_model.pb")]
    return f"{path}/{max(versions)}" if versions else None


def read_settings(export: str) -> dict[str, Any]:
    """Reads the description of the export, which `export.py` stores with the model.

    Raises:
        InputError: the file is missing, or `export.py` did not write it.
    """
    path = f"{export}/assets/{SETTINGS_FILE}"
    about = files.read_json(path, dict)
    head, signatures = about.get("head"), about.get("signatures")
    if not isinstance(head, str) or head not in HEADS:
        raise InputError(f"{path}: expected head to be one of {', '.join(HEADS)}, but got {head!r:.100}")
    if not isinstance(signatures, list) or not all(isinstance(name, str) for name in signatures):
        raise InputError(f"{path}: expected signatures to be a list of names, but got {signatures!r:.100}")
    return about


def read_export(export: str, head: str, *, precision: str = "float32") -> SavedExport:
    """Reads an export of a model with this head.

    Raises:
        InputError: the head or precision is different, or a file is missing, damaged, or from another export.
    """
    if precision != "float32":
        raise InputError(f"{export}: an export computes in float32; load the model directory for {precision}")
    about = read_settings(export)
    if about["head"] != head:
        expected = {"reading": "a reader", "tokens": "a tagger", "classification": "a classifier"}.get(head, head)
        raise InputError(f"{export}: expected {expected}, but this export's head is {about['head']}")
    _check_tokenizer_files(export, about)
    config = BertConfig.from_json(f"{export}/assets/config.json")
    tokenizer = Tokenizer.from_pretrained(f"{export}/assets")
    check_vocabulary(config, tokenizer)
    loaded = _load(export, with_text=not set(TEXT_SIGNATURES.values()).isdisjoint(about["signatures"]))
    return SavedExport(
        export, about, config, tokenizer, functools.partial(loaded.signatures["serving_default"]), loaded
    )


def _check_tokenizer_files(export: str, about: dict[str, Any]) -> None:
    """Checks the tokenizer's files. Without its settings it would be taken for plain BERT's; with a truncated or
    replaced vocabulary, pieces would get the vectors of other pieces.
    """
    settings, path = f"{export}/assets/tokenizer_config.json", f"{export}/assets/vocab.txt"
    if not files.exists(settings):
        raise InputError(f"{settings}: there is no such file")
    expected = about.get("vocab_sha256")
    if expected is not None and files.exists(path) and files.sha256(path) != expected:
        raise InputError(f"{path}: expected the vocabulary that was exported, but this is another one, or a part of it")


def _load(export: str, *, with_text: bool) -> Any:
    if with_text:
        import tensorflow_text  # noqa: F401 - registers operations of the graph
    try:
        loaded = tf.saved_model.load(export)
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow raises ValueError, IndexError, OSError and its own classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{export}: expected a whole SavedModel, but it cannot be loaded: {reason:.200}") from error
    if "serving_default" not in loaded.signatures:
        raise InputError(f"{export}: expected a SavedModel with the signature serving_default, but it has none")
    return loaded


def export_labels(export: SavedExport) -> list[str]:
    """The labels of a classifier or tagger, in the order of its logits."""
    labels = export.about.get("labels")
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        where = f"{export.path}/assets/{SETTINGS_FILE}"
        raise InputError(f"{where}: expected labels to be a list of names, but got {labels!r:.100}")
    return labels
