"""A model directory to a SavedModel that stands alone.

The SavedModel takes ids as int32 [batch, sequence], both dynamic, and gives named float32 outputs, computed in float32
whatever the model was trained in, with standard TensorFlow operations alone. Vocabulary, configuration and tokenizer
settings lie in its `assets`. It is written into a numbered folder, `output_dir/1`, as TensorFlow Serving expects.

Mecab cannot run in a graph, so text goes in only where the tokenizer is plain BERT's (`pre_tokenizer="none"`), and only
where it is asked for: a SavedModel with the signature `answer_text` cannot be loaded at all, not even for its other
signatures, in a process that has not imported tensorflow-text.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2 import files, graph_reading, modeling, mrc, weights
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import Tokenizer

SETTINGS_FILE = "serving.json"
ONNX_FILE = "model.onnx"
# In `answer_text`, so that a long context needs no more memory than a short one.
WINDOWS_AT_ONCE = 16
INPUTS = ("input_ids", "input_mask", "segment_ids")


class ReadingSettings(NamedTuple):
    """How a reader is served: run_squad's lengths, and how many answers are kept."""

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best_size: int = 20

    @classmethod
    def fitting(cls, max_position_embeddings: int, **given) -> "ReadingSettings":
        """The defaults, no longer than the model's positions; what is given (and not None) stands, and is checked."""
        given = {name: value for name, value in given.items() if value is not None}
        longest = given.setdefault("max_seq_length", min(384, max_position_embeddings))
        query = given.setdefault("max_query_length", min(64, longest // 4))
        given.setdefault("doc_stride", min(128, max(1, (longest - query - 3) // 2)))
        settings = cls(**given)
        settings.check(max_position_embeddings)
        return settings

    def check(self, max_position_embeddings: int) -> None:
        if self.max_seq_length > max_position_embeddings:
            raise InputError(
                f"max_seq_length: expected at most the model's max_position_embeddings, {max_position_embeddings}, "
                f"but got {self.max_seq_length}"
            )
        mrc.check_lengths(
            max_seq_length=self.max_seq_length, doc_stride=self.doc_stride, max_query_length=self.max_query_length
        )
        for name in ("max_answer_length", "n_best_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, but got {getattr(self, name)}")


# ----------------------------------------------------------------------------------------------------------------------
# Heads: which model class, and what its signatures give
# ----------------------------------------------------------------------------------------------------------------------


class Head(NamedTuple):
    architectures: tuple[str, ...]  # the names in config.json that mean this head
    model: str  # the class in modeling.py
    outputs: Callable  # (the model's outputs, the inputs) -> what `serving_default` gives
    extra_inputs: tuple[str, ...] = ()


def _embedding_outputs(outputs: dict, inputs: dict) -> dict:
    weights = tf.cast(inputs["input_mask"], tf.float32)[:, :, tf.newaxis]
    tokens = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
    return dict(outputs, mean_output=tf.reduce_sum(outputs["sequence_output"] * weights, axis=1) / tokens)


def _class_outputs(outputs: dict, inputs: dict) -> dict:
    return dict(outputs, probabilities=tf.nn.softmax(outputs["logits"]))


HEADS = {
    "reading": Head(("BertForQuestionAnswering",), "BertForQuestionAnswering", lambda outputs, _: outputs),
    "classification": Head(("BertForSequenceClassification",), "BertForSequenceClassification", _class_outputs),
    "tokens": Head(("BertForTokenClassification",), "BertForTokenClassification", _class_outputs),
    "embedding": Head(("BertModel", "BertBackbone"), "BertBackbone", _embedding_outputs),
    "pretraining": Head(
        ("BertForPreTraining",), "BertForPreTraining", lambda outputs, _: outputs, ("masked_lm_positions",)
    ),
}


def head_of(model_dir: str) -> str:
    """The head that a model directory's config.json names."""
    path = os.path.join(model_dir, "config.json")
    if not files.exists(path):
        raise InputError(f"{model_dir}: there is no config.json that names the head; ask for one of {', '.join(HEADS)}")
    named = files.read_json(path).get("architectures") or []
    for name, head in HEADS.items():
        if set(named) & set(head.architectures):
            return name
    raise InputError(f"{path}: expected architectures with a head of BERT, but found {named}; ask for a head by name")


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
    with_text: bool = False,
    **reading,
) -> dict:
    """Writes the model directory (or TF1 checkpoint) as a SavedModel in `output_dir/version`, whole or not at all.

    Args:
        file_format: "saved_model", or "onnx": `model.onnx` with the signature `serving_default`, and the same assets.
        head: one of `HEADS`; by default what config.json says. A model with any head can be exported as "embedding".
        with_text: the signature `answer_text` too, for a reader with a plain tokenizer.
        overwrite: an export that is there already under this version is replaced.
        reading: fields of `ReadingSettings`, for a reader.

    Returns: `path`, `head`, `signatures`.

    Raises:
        InputError: no such model, a folder that is there already, a vocabulary that is missing or of another size.
    """
    _check_target(_version_folder(output_dir, version), overwrite)
    head = head or head_of(model_dir)
    if head not in HEADS:
        raise InputError(f"head: expected one of {', '.join(HEADS)}. Received: {head!r}")
    tokenizer = Tokenizer.from_pretrained(model_dir)
    model = getattr(modeling, HEADS[head].model).from_pretrained(model_dir, dtype="float32")
    labels = read_labels(model_dir) if head in ("classification", "tokens") else None
    return export_model(
        model,
        tokenizer,
        output_dir,
        version=version,
        overwrite=overwrite,
        file_format=file_format,
        with_text=with_text,
        labels=labels,
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
    with_text: bool = False,
    labels: list[str] | None = None,
    **reading,
) -> dict:
    """`export` of a model in memory, built under whatever precision policy or strategy; it is left as it is."""
    target = _version_folder(output_dir, version)
    _check_target(target, overwrite)
    check_vocabulary(model.config, tokenizer)
    head = next(name for name, entry in HEADS.items() if entry.model == type(model).__name__)
    if with_text:
        _check_text(head, tokenizer, file_format)
    settings = ReadingSettings.fitting(model.config.max_position_embeddings, **reading) if head == "reading" else None
    with tempfile.TemporaryDirectory() as scratch:
        about = {"head": head, "labels": labels, "reading": settings and settings._asdict()}
        assets = _write_assets(scratch, model, tokenizer, about)
        module = _Servable(in_float32(model, without_zeros=file_format == "onnx"), HEADS[head], assets)
        with whole_version(target, overwrite) as folder:
            if file_format == "onnx":
                written = _write_onnx(module, folder, vocab_size=len(tokenizer.vocab))
            else:
                signatures = module.signatures(tokenizer, settings, with_text=with_text)
                tf.saved_model.save(module, folder, signatures)
                written = {"signatures": sorted(signatures)}
    return {"path": target, "head": head, **written}


def _check_text(head: str, tokenizer: Tokenizer, file_format: str) -> None:
    if head != "reading" or file_format != "saved_model":
        raise InputError(f"with_text: expected a reader as a SavedModel, but this is head {head} as {file_format}")
    if tokenizer.settings()["pre_tokenizer"] != "none":
        raise InputError("with_text: expected a plain tokenizer (pre_tokenizer none): Mecab cannot run in a graph")


def _write_onnx(module: "_Servable", folder: str, *, vocab_size: int) -> dict:
    from kobert_tf2 import onnx_export

    difference = onnx_export.write(module.serve, module.inputs, f"{folder}/{ONNX_FILE}", vocab_size=vocab_size)
    os.mkdir(f"{folder}/assets")
    for asset in module.assets:
        path = asset.asset_path.numpy().decode()
        shutil.copyfile(path, f"{folder}/assets/{os.path.basename(path)}")
    return {"signatures": ["serving_default"], "largest_difference": difference}


def _version_folder(output_dir: str, version: int) -> str:
    if version < 1:
        raise InputError(f"version: expected a number from 1 on, but got {version}")
    return f"{os.fspath(output_dir).rstrip('/')}/{version}"


def _check_target(path: str, overwrite: bool) -> None:
    if not files.exists(path):
        return
    if not overwrite:
        raise InputError(f"{path}: already there; give another version, or ask for it to be overwritten")
    if not any(files.exists(f"{path}/{name}") for name in ("saved_model.pb", ONNX_FILE)):
        raise InputError(f"{path}: expected an export to overwrite, but this is something else; remove it yourself")


@contextlib.contextmanager
def whole_version(path: str, overwrite: bool):
    """A folder that becomes `path` at the end or not at all; an export that was there before goes then, as a whole."""
    replaces = overwrite and files.exists(path)
    new = f"{path}.new-{os.getpid()}" if replaces else path
    with files.whole_folder(new) as folder:
        yield folder
    if replaces:
        old = f"{path}.old-{os.getpid()}"
        tf.io.gfile.rename(path, old)
        tf.io.gfile.rename(new, path)
        tf.io.gfile.rmtree(old)


def check_vocabulary(config: modeling.BertConfig, tokenizer: Tokenizer) -> None:
    """A vocabulary may be smaller than the embedding (rows kept for later), never larger."""
    if len(tokenizer.vocab) > config.vocab_size:
        raise InputError(
            f"expected a vocabulary of at most {config.vocab_size} pieces, the model's vocab_size, "
            f"but it has {len(tokenizer.vocab)}"
        )


def in_float32(model: keras.Model, *, without_zeros: bool = False) -> keras.Model:
    """The model itself; a copy where it computes in another precision or its variables are spread over replicas.

    With `without_zeros` a variable that is all 0, such as the bias of a new layer, is 1e-30 in the copy, which changes
    no sum in float32: with biases of 0 the file that tf2onnx 1.17 made (TensorFlow 2.21) failed in a Reshape, with
    others it ran. Probably the graph is rewritten, before tf2onnx sees it, around an addition of zeros.
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


def read_labels(model_dir: str) -> list[str] | None:
    """The names of a classifier's classes, from config.json; None where it has none."""
    path = os.path.join(model_dir, "config.json")
    named = files.read_json(path).get("id2label") if files.exists(path) else None
    return [named[key] for key in sorted(named, key=int)] if named else None


def _write_assets(folder: str, model: keras.Model, tokenizer: Tokenizer, about: dict) -> list[str]:
    """Vocabulary, configuration, tokenizer settings and what was exported: paths of the files."""
    tokenizer.save_pretrained(folder)
    config = weights.hf_config(model.config, HEADS[about["head"]].architectures[0], getattr(model, "num_labels", None))
    if about["labels"]:
        config["id2label"] = {str(i): label for i, label in enumerate(about["labels"])}
        config["label2id"] = {label: i for i, label in enumerate(about["labels"])}
    files.write_json(os.path.join(folder, "config.json"), config)
    files.write_json(os.path.join(folder, SETTINGS_FILE), about)
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


# ----------------------------------------------------------------------------------------------------------------------
# What is saved
# ----------------------------------------------------------------------------------------------------------------------


class _Servable(tf.Module):
    """The traced functions and, as attributes so that the SavedModel keeps them, the variables and files they need."""

    def __init__(self, model: keras.Model, head: Head, assets: list[str]):
        super().__init__()
        self._model, self._head = model, head
        self.variables_of_model = [variable.value for variable in model.weights]
        self.assets = [tf.saved_model.Asset(path) for path in assets]

    def signatures(self, tokenizer: Tokenizer, settings: ReadingSettings | None, *, with_text: bool) -> dict:
        functions = {"serving_default": _with_signature(self.serve, self.inputs)}
        if settings is not None:
            functions["answer_span"] = self._answer_span(tokenizer.sep_id, settings)
        if with_text:
            functions["answer_text"] = self._answer_text(tokenizer, settings)
        return functions

    def _answer_text(self, tokenizer: Tokenizer, settings: ReadingSettings):
        """Strings in, answers out: tokens, windows, spans and offsets are all found in the graph."""
        from kobert_tf2 import graph_tokenizer  # needs tensorflow-text, which the other signatures do not

        self.tokenizer = graph_tokenizer.GraphTokenizer(tokenizer)
        lengths = {name: getattr(settings, name) for name in ("max_seq_length", "doc_stride", "max_query_length")}
        ids = {name: getattr(tokenizer, name) for name in ("cls_id", "sep_id", "pad_id")}
        best = {"n_best_size": settings.n_best_size, "max_answer_length": settings.max_answer_length}

        def forward(chunk):
            outputs = self._forward(chunk)
            return outputs["start_logits"], outputs["end_logits"]

        def answer_text(question, context):
            tokens = self.tokenizer(context)
            windows = graph_reading.make_windows(self.tokenizer(question).ids, tokens.ids, **ids, **lengths)
            logits = graph_reading.logits_in_chunks(forward, windows.inputs, size=WINDOWS_AT_ONCE)
            spans = graph_reading.merge_spans(windows, *logits, **best)
            start = graph_reading.of_tokens(tokens.starts, spans.start)
            end = graph_reading.of_tokens(tokens.ends, spans.end)
            texts = tf.strings.substr(
                tf.repeat(context[:, tf.newaxis], settings.n_best_size, axis=1), start, end - start, unit="UTF8_CHAR"
            )
            every = {"text": texts, "start": start, "end": end, "score": spans.score, "probability": spans.probability}
            first = {("answer" if name == "text" else name): column[:, 0] for name, column in every.items()}
            return first | {f"n_best_{name}": column for name, column in every.items()}

        text = {name: tf.TensorSpec([None], tf.string, name=name) for name in ("question", "context")}
        return tf.function(answer_text).get_concrete_function(**text)

    def _forward(self, inputs: dict) -> dict:
        return self._model(inputs, training=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*INPUTS, *self._head.extra_inputs)

    def serve(self, **inputs) -> dict:
        """Named float32 outputs."""
        outputs = self._head.outputs(self._forward(inputs), inputs)
        return {name: tf.cast(output, tf.float32, name=name) for name, output in outputs.items()}

    def _answer_span(self, sep_id: int, settings: ReadingSettings):
        def answer_span(**inputs):
            outputs = self._forward(inputs)
            start_logits, end_logits = outputs["start_logits"], outputs["end_logits"]
            allowed = graph_reading.context_positions(**inputs, sep_id=sep_id)
            spans = graph_reading.best_spans(
                start_logits,
                end_logits,
                allowed,
                allowed,
                n_best_size=settings.n_best_size,
                max_answer_length=settings.max_answer_length,
            )
            return dict(spans._asdict(), null_score=start_logits[:, 0] + end_logits[:, 0])

        return _with_signature(answer_span, INPUTS)


def _with_signature(function: Callable, inputs: tuple[str, ...]):
    """A traced function of keyword arguments, each int32 [batch, sequence] with both dimensions open."""
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
    return tf.function(function).get_concrete_function(**specs)
