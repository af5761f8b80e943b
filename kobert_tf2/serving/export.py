"""Exports a model directory as a self-contained SavedModel.

    export/1          loads with TensorFlow alone; takes ids, int32 [batch, sequence], both dimensions dynamic;
                      returns named float32 outputs, computed in float32 whatever precision the model was trained in
    export/text/1     the same signatures and `answer_text` (or `tag_text`), which takes strings and returns answers
                      (or entities); needs tensorflow-text

Both are numbered folders, as TensorFlow Serving expects: `export` or `export/text` is a model's base path. The second
is written for a reader whose tokenizer is plain BERT's (`pre_tokenizer="none"`), because Mecab cannot run in a graph.
It is separate because a SavedModel with operations of tensorflow-text cannot be loaded at all, not even for its other
signatures, in a process that has not imported tensorflow-text. The `assets` of each contain the vocabulary, the
configuration, the tokenizer settings and a description of the export. `signatures.py` defines the signatures.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2 import files, outputs
from kobert_tf2.bert import checkpoint_files, heads, models, pretrained
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities
from kobert_tf2.labelling.settings import TAGGER, TaggerSettings
from kobert_tf2.reading.settings import ReadingSettings
from kobert_tf2.serving.signatures import HEADS, TEXT_SIGNATURES, Servable
from kobert_tf2.tokenization.tokenizer import Tokenizer

SETTINGS_FILE = "serving.json"
ONNX_FILE = "model.onnx"
TFLITE_FILE = "model.tflite"
TEXT_FOLDER = "text"
FORMATS = ("saved_model", "onnx", "tflite")


def head_of(source: checkpoint_files.Source) -> str:
    """The head named in a model's configuration."""
    named = heads.describe(source).architecture
    if named is None and source.format == "tf1":
        raise InputError(f"{source.prefix}: a checkpoint does not name its head; ask for one of {', '.join(HEADS)}")
    for name, head in HEADS.items():
        if named in head.architectures:
            return name
    raise InputError(
        f"{source.config}: expected architectures with a head of BERT, but found {named}; ask for one of "
        f"{', '.join(HEADS)}"
    )


# ----------------------------------------------------------------------------------------------------------------------
# Export
# ----------------------------------------------------------------------------------------------------------------------


def export(
    model_dir: str,
    output_dir: str,
    *,
    head: str | None = None,
    version: int = 1,
    overwrite: bool = False,
    file_format: str = "saved_model",
    with_text: bool | None = None,
    weights: str = "float32",
    **reading: Any,
) -> dict:
    """Writes the model directory (or TF1 checkpoint) atomically as a SavedModel in `output_dir/version`.

    Args:
        file_format: "saved_model", or "onnx": `model.onnx` with the signature `serving_default`, and the same assets.
        head: one of `HEADS`; the default is the head named in config.json. A model with any head can be exported as
            "embedding", without `pooled_output` if its weights include no pooler.
        with_text: whether to also write the model with `answer_text` or `tag_text`, in `output_dir/text/version`. The
            default is True only for a reader or a tagger (of BIO labels) with a plain tokenizer.
        overwrite: whether to replace an existing export of this version, including its model with text.
        reading: for a reader, fields of `ReadingSettings` that override those it was trained with, or the defaults.

    Returns: `path`, `head`, `signatures`, and `text_path` and `text_signatures` if a model with text was written.

    Raises:
        InputError: no such model, weights without the head, a folder that already exists, or a vocabulary that is
            missing or has the wrong size.
    """
    targets = _check_targets(output_dir, version, overwrite)
    outputs.refuse_inputs({"output_dir": output_dir}, {"model_dir": model_dir}, replaced={"version": targets})
    source = checkpoint_files.find_source(model_dir)
    head = head or head_of(source)
    if head not in HEADS:
        raise InputError(f"head: expected one of {', '.join(HEADS)}. Received: {head!r}")
    tokenizer = Tokenizer.from_pretrained(source.folder)
    model_class = getattr(models, HEADS[head].model)
    model = model_class.from_pretrained(model_dir, dtype="float32", require_trained=head != "embedding")
    if head == "tokens":
        TaggerSettings.kept_in(source.config)  # raises if the settings are invalid
    if head == "reading":
        kept = ReadingSettings.kept_in(source.config)
        reading = ReadingSettings.fitting(model.config.max_position_embeddings, kept=kept, **reading).to_dict()
    return export_model(
        model,
        tokenizer,
        output_dir,
        version=version,
        overwrite=overwrite,
        file_format=file_format,
        with_text=with_text,
        weights=weights,
        task_specific_params=None if head == "reading" else heads.describe(source).values.get("task_specific_params"),
        **reading,
    )


def export_model(
    model: keras.Model,
    tokenizer: Tokenizer,
    output_dir: str,
    *,
    version: int = 1,
    overwrite: bool = False,
    file_format: str = "saved_model",
    with_text: bool | None = None,
    weights: str = "float32",
    task_specific_params: Mapping | None = None,
    **reading: Any,
) -> dict:
    """`export` for a model in memory, built under any precision policy or strategy. Does not modify the model.

    Raises `InputError` if the head was neither in the loaded weights nor trained since. `weights` is the weight format
    of a TFLite file, one of `tflite.WEIGHTS`. `task_specific_params` are written to the export's `config.json`, as in
    `save_pretrained`.
    """
    if weights != "float32" and file_format != "tflite":
        raise InputError(f"weights: {weights} is for the format tflite, but the format is {file_format}")
    targets = _check_targets(output_dir, version, overwrite)
    model = _without_untrained_pooler(model)
    heads.refuse_untrained_model(model.new_parts)
    check_vocabulary(model.config, tokenizer)
    head = next(name for name, entry in HEADS.items() if entry.model == type(model).__name__)
    if head == "reading":
        model.config.check_takes_pairs(None, "a reader takes a question and a context")
    takes_text = _takes_text(with_text, head, model, tokenizer, file_format)
    settings = ReadingSettings.fitting(model.config.max_position_embeddings, **reading) if head == "reading" else None
    about = {"head": head, "labels": _label_names(model), "reading": settings and settings.to_dict()}
    model = in_float32(model, without_zeros=file_format == "onnx")
    with tempfile.TemporaryDirectory() as scratch, outputs.only_run(targets.plain):
        tagging = (task_specific_params or {}).get(TAGGER)
        servable = Servable(model, HEADS[head], settings=settings, tokenizer=tokenizer, tagging=tagging)
        assets = _Assets(scratch, model, tokenizer, about, task_specific_params)
        if file_format == "onnx":
            written = _write_onnx(servable, assets, targets.plain, overwrite, vocab_size=len(tokenizer.vocab))
        elif file_format == "tflite":
            written = _write_tflite(servable, assets, targets.plain, overwrite, weights, len(tokenizer.vocab))
        else:
            written = _write_saved_models(servable, assets, targets, overwrite, takes_text=takes_text)
    return {"path": targets.plain, "head": head, **written}


def _takes_text(asked: bool | None, head: str, model: keras.Model, tokenizer: Tokenizer, file_format: str) -> bool:
    """Whether to write a signature with strings; raises if one was requested but is not possible."""
    lacking = _why_no_text(head, model, tokenizer, file_format)
    if asked and lacking:
        raise InputError(
            f"with_text: expected a reader or a tagger with a plain tokenizer, as a SavedModel, but {lacking}"
        )
    return lacking is None and asked is not False


def _why_no_text(head: str, model: keras.Model, tokenizer: Tokenizer, file_format: str) -> str | None:
    if file_format not in FORMATS:
        raise InputError(f"file_format: expected one of {', '.join(FORMATS)}. Received: {file_format!r}")
    if file_format != "saved_model":
        return f"the format is {file_format}"
    if head not in TEXT_SIGNATURES:
        return f"the head is {head}"
    if head == "tokens" and not entities.are_bio(model.labels):
        return f"the labels are {', '.join(model.labels):.60}, not BIO"
    needed = {"mecab": "Mecab", "sentencepiece": "a SentencePiece model"}.get(tokenizer.settings()["pre_tokenizer"])
    if needed or tokenizer.added_tokens:
        return f"this tokenizer needs {needed or 'its added tokens found'}, which cannot run in a graph"
    return None


def _write_saved_models(
    servable: Servable, assets: "_Assets", targets: "_Targets", overwrite: bool, *, takes_text: bool
) -> dict:
    """Moves the model that any process can load into place last: if it exists, the export is complete."""
    signatures = sorted(servable.plain_signatures)
    written: dict[str, Any] = {"signatures": signatures}
    with _without_empty_folder(os.path.dirname(targets.text)), whole_version(targets.plain, overwrite) as folder:
        _write_saved_model(servable, assets, signatures, folder)
        if takes_text:
            written |= {"text_path": targets.text, "text_signatures": sorted([*signatures, servable.text_signature])}
            with whole_version(targets.text, overwrite) as text_folder:
                _write_saved_model(servable, assets, written["text_signatures"], text_folder)
        elif files.exists(targets.text):
            _remove_export(targets.text)  # part of the export being replaced
    return written


@contextlib.contextmanager
def _without_empty_folder(path: str) -> Iterator[None]:
    """Removes a folder on exit if it is empty."""
    try:
        yield
    finally:
        files.remove_empty_folder(path)


def _write_saved_model(servable: Servable, assets: "_Assets", signatures: list[str], folder: str) -> None:
    servable.hold_files(assets.write(signatures))
    tf.saved_model.save(servable, folder, servable.signatures(signatures))


def _write_onnx(servable: Servable, assets: "_Assets", target: str, overwrite: bool, *, vocab_size: int) -> dict:
    from kobert_tf2.serving import onnx

    with whole_version(target, overwrite) as folder:
        sizes = {"vocab_size": vocab_size, "type_vocab_size": servable.type_vocab_size}
        difference = onnx.write(servable.serve, servable.inputs, f"{folder}/{ONNX_FILE}", **sizes)
        _put_assets_beside(folder, assets)
    return {"signatures": ["serving_default"], "largest_difference": difference}


def _write_tflite(
    servable: Servable, assets: "_Assets", target: str, overwrite: bool, weights: str, vocab_size: int
) -> dict:
    from kobert_tf2.serving import tflite

    with whole_version(target, overwrite) as folder:
        checked = tflite.write(servable, f"{folder}/{TFLITE_FILE}", weights=weights, vocab_size=vocab_size)
        _put_assets_beside(folder, assets)
    return {"signatures": ["serving_default"], "weights": weights, **checked}


def _put_assets_beside(folder: str, assets: "_Assets") -> None:
    os.mkdir(f"{folder}/assets")
    for path in assets.write(["serving_default"]):
        shutil.copyfile(path, f"{folder}/assets/{os.path.basename(path)}")


class _Targets(NamedTuple):
    plain: str
    text: str


def _version_folder(output_dir: str, version: int) -> str:
    if version < 1:
        raise InputError(f"version: expected a number from 1 on, but got {version}")
    return f"{os.fspath(output_dir).rstrip('/')}/{version}"


def _check_targets(output_dir: str, version: int, overwrite: bool) -> _Targets:
    """The folders of this version. None may exist yet: an older one with text would belong to another model."""
    text = os.path.join(output_dir, TEXT_FOLDER)
    targets = _Targets(_version_folder(output_dir, version), _version_folder(text, version))
    outputs.check_folder(output_dir, (), what="an export", is_ours=files.is_folder)
    for target in targets:
        _check_target(target, overwrite)
    return targets


def _check_target(path: str, overwrite: bool) -> None:
    if not files.exists(path):
        return
    if not overwrite:
        raise InputError(f"{path}: already there; give another version, or ask for it to be overwritten")
    if not any(files.exists(f"{path}/{name}") for name in ("saved_model.pb", ONNX_FILE, TFLITE_FILE)):
        raise InputError(f"{path}: expected an export to overwrite, but this is something else; remove it yourself")
    if not files.is_remote(path):
        others = [name for name in outputs.files_in(path) if not _OF_AN_EXPORT.fullmatch(name)]
        if others:
            raise InputError(f"{path}/{others[0]}: not of the export that is to be overwritten; move it away")


# The files of a version's folder.
_OF_AN_EXPORT = re.compile(
    r"saved_model\.pb|fingerprint\.pb|model\.onnx|model\.tflite|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets/(vocab\.txt|config\.json|tokenizer_config\.json|serving\.json|user\.dic|tokenization_kobert\.py"
    r"|spiece\.model|tokenizer\.json)"
)


def _remove_export(path: str) -> None:
    """Removes an export file by file; keeps any other files in the folder."""
    names = outputs.files_in(path) if not files.is_remote(path) else _names_below(path)
    outputs.remove_files(path, filter(_OF_AN_EXPORT.fullmatch, names))
    for name in ("variables", "assets", "assets.extra"):
        files.remove_empty_folder(f"{path}/{name}")
    files.remove_empty_folder(path)


def _names_below(path: str) -> list[str]:
    found = [f"{folder}/{name}" for folder, _, names in tf.io.gfile.walk(path) for name in names]
    return [name.removeprefix(path).replace("//", "/").strip("/") for name in found]


@contextlib.contextmanager
def whole_version(path: str, overwrite: bool) -> Iterator[str]:
    """A folder that becomes `path` on success or not at all; only then is a previous export removed, as a whole."""
    replaces = overwrite and files.exists(path)
    new = f"{path}.new-{os.getpid()}" if replaces else path
    with files.whole_folder(new) as folder:
        yield folder
    if replaces:
        old = f"{path}.old-{os.getpid()}"
        tf.io.gfile.rename(path, old)
        tf.io.gfile.rename(new, path)
        _remove_export(old)


def check_vocabulary(config: models.BertConfig, tokenizer: Tokenizer) -> None:
    """Checks the size: a vocabulary may be smaller than the embedding (spare rows), never larger."""
    if len(tokenizer.vocab) > config.vocab_size:
        raise InputError(
            f"expected a vocabulary of at most {config.vocab_size} pieces, the model's vocab_size, "
            f"but it has {len(tokenizer.vocab)}"
        )


def in_float32(model: keras.Model, *, without_zeros: bool = False) -> keras.Model:
    """The model itself, or a copy if it computes in another precision or its variables are distributed over replicas.

    With `without_zeros`, a variable that is all 0, such as the bias of a new layer, becomes 1e-30 in the copy, which
    changes no sum in float32. With zero biases, the file written by tf2onnx 1.17 (TensorFlow 2.21) failed in a Reshape;
    with non-zero biases it ran. Probably the graph is rewritten around an addition of zeros before tf2onnx sees it.
    """
    values = [variable.value for variable in model.weights]
    spread = any(isinstance(value, tf.distribute.DistributedValues) for value in values)
    config = model.get_config()
    if keras.dtype_policies.get(config["dtype"]).name == "float32" and not spread and not without_zeros:
        return model
    arrays = [np.asarray(keras.ops.convert_to_numpy(value), np.float32) for value in values]
    if without_zeros:
        arrays = [array if array.any() else np.full_like(array, 1e-30) for array in arrays]
    copy = type(model).from_config({**config, "dtype": "float32"})
    copy.set_weights(arrays)
    return copy


def _without_untrained_pooler(model: keras.Model) -> keras.Model:
    """The backbone without its pooler, if that has random weights."""
    if not isinstance(model, models.BertBackbone) or "pooler" not in model.new_parts:
        return model
    print("the weights hold no pooler: there will be no pooled_output", file=sys.stderr)
    copy = models.BertBackbone.from_config({**model.get_config(), "add_pooling_layer": False})
    values = pretrained.variables(model)
    for row, variable in pretrained.variables(copy).items():
        variable.assign(values[row].value)
    return copy


def _label_names(model: keras.Model) -> list[str] | None:
    """A classifier's class names, in the order of its logits."""
    named = pretrained.labels_of(model)
    return named and list(named.names)


class _Assets:
    """The files that accompany an export: vocabulary, configuration, tokenizer settings, the export's description."""

    def __init__(
        self, scratch: str, model: keras.Model, tokenizer: Tokenizer, about: dict, task_specific_params: Mapping | None
    ):
        self._scratch, self._model, self._tokenizer, self._about = scratch, model, tokenizer, about
        self._task_settings = {"task_specific_params": dict(task_specific_params)} if task_specific_params else {}

    def write(self, signatures: list[str]) -> list[str]:
        """Writes the files to a new folder; returns their paths."""
        folder = tempfile.mkdtemp(dir=self._scratch)
        self._tokenizer.save_pretrained(folder)
        files.write_json(os.path.join(folder, "config.json"), self._config())
        vocabulary = os.path.join(folder, "vocab.txt")
        kept = {"vocab_sha256": files.sha256(vocabulary)} if os.path.exists(vocabulary) else {}
        about = {**self._about, **kept, "signatures": list(signatures)}
        files.write_json(os.path.join(folder, SETTINGS_FILE), about)
        return sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def _config(self) -> dict:
        model = self._model
        config = pretrained.hf_config(model.config, pretrained.architecture(model), pretrained.labels_of(model))
        return config | self._task_settings
