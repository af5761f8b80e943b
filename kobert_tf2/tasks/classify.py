"""Sentence classification, from a TSV to a model directory, its scores and its predictions.

    output_dir/checkpoints/        what a run resumes from
               model/              a model directory; its config.json names the labels
               eval_results.txt    under the keys of the original run_classifier, and F1
               confusion.tsv       a row for each true label, a column for each predicted one
               predictions.tsv     id, predicted label and the probability of every label

This is the one call that `tools/finetune_classifier.py` makes; files of sentences are read by `sentences.py`.
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.bert import pretrained as weights
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import labels, sentences
from kobert_tf2.labelling.sentences import Example
from kobert_tf2.tasks import preflight as preflight_module
from kobert_tf2.tasks import start
from kobert_tf2.tasks.hold_out import hold_out
from kobert_tf2.tokenization import pretrained, unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import loop, losses
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.scores import write_eval_results
from kobert_tf2.training.settings import EpochTaskSettings

MODEL = models.BertForSequenceClassification
SINGLE_LABEL = "single_label_classification"
TASK = loop.Task(weights=losses.label_weights, sums=losses.label_sums)
INPUTS = ("input_ids", "input_mask", "segment_ids")


class Sources(NamedTuple):
    """Paths of the three files, None for what there is not."""

    train: str | None
    evaluation: str | None
    prediction: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(EpochTaskSettings):
    """What a classifier's run is asked for; the fields are the flags of `tools/finetune_classifier.py`.

    Attributes:
      data_dir: holds train.tsv, dev.tsv and test.tsv; `train_file`, `eval_file`, `predict_file` stand in for each.
      eval_fraction: without a file to evaluate on, this part of the training file is held out.
      max_seq_length: pieces of a row; longer ones are cut and counted.
      eval_batch_size: rows of all replicas together.
    """

    data_dir: str | None = None
    eval_file: str | None = None
    eval_fraction: float = 0.0
    do_eval: bool = False
    eval_batch_size: int = 8


def _first_line(path: str) -> str:
    return next(iter(files.read_lines(path)), "")


# With each file of this task what tells it from one of the same name that is not ours.
_WRITTEN = {
    "confusion.tsv": lambda path: _first_line(path).startswith("true \\ predicted\t"),
    "predictions.tsv": lambda path: _first_line(path).startswith("id\tpredicted\tprobability_"),
}


def finetune(settings: FinetuneSettings) -> dict:
    """Trains, evaluates, predicts.

    Returns a summary: `global_step`, `accuracy`, `f1`, `loss`, `labels`, `confusion`, the paths of what was written.
    Raises `InputError` for what a user can mend.
    """
    _check_asked(settings)
    output_dir = settings.output_dir
    sources = find_files(settings.data_dir, settings.train_file, settings.eval_file, settings.predict_file)
    job = TrainingJob.start(settings)
    inputs = {**job_inputs(settings), "train_file": sources.train, "eval_file": sources.evaluation}
    job.claim({**inputs, "predict_file": sources.prediction}, _WRITTEN, trains=settings.do_train)
    begin = settings.init_checkpoint
    if not settings.do_train:
        begin = start.model_to_predict_with(output_dir, begin)
    tokenizer = pretrained.from_flags(Tokenizer, settings.vocab_file, begin, settings.tokenizer_settings)
    train, evaluation, prediction = _read_all(sources, settings)
    config = start.find_config(settings.bert_config_file, begin, vocab_size=len(tokenizer.vocab))
    fit = {"vocab_size": len(tokenizer.vocab), "max_seq_length": settings.max_seq_length}
    start.check_fits(config, settings.bert_config_file or begin, **fit)
    if any(example.pair for example in (*train, *evaluation, *prediction)):
        config.check_takes_pairs(settings.bert_config_file or begin, "there are pairs of sentences (document2)")
    encoding = _Encoding(tokenizer, settings.max_seq_length, settings.num_workers)
    chosen = _choose_labels([*train, *evaluation], begin, settings, config)
    model = job.make(lambda: _make_model(config, begin, settings, chosen))
    names = list(model.labels)
    summary = {"output_dir": output_dir, "labels": names}
    if settings.do_train:
        summary |= _train(job, model, encoding.features(train, names), settings, tokenizer)
    if settings.do_eval:
        probabilities = predict(model, encoding, evaluation, settings.eval_batch_size, job.strategy)
        scores = score(probabilities, sentences.label_ids(evaluation, names))
        summary |= {"eval_examples": len(evaluation), **scores}
        if job.is_chief:
            _write_scores(output_dir, scores, summary.get("global_step", 0), names)
    if settings.do_predict:
        probabilities = predict(model, encoding, prediction, settings.predict_batch_size, job.strategy)
        if job.is_chief:
            summary["predictions"] = f"{output_dir}/predictions.tsv"
            write_predictions(summary["predictions"], prediction, probabilities, names)
    return summary | {"truncated": encoding.truncated, "unknown_share": encoding.unknown_share}


def preflight(settings: FinetuneSettings, asked: preflight_module.PreflightSettings) -> dict:
    """Compiles the training program of these settings as a TPU would run it and counts; needs no TPU and no data."""
    targets: dict[str, list[int]] = {"labels": []}
    return preflight_module.of_fine_tuning(MODEL, TASK, settings, asked, targets=targets, lengths_vary=False)


def _check_asked(settings: FinetuneSettings) -> None:
    if not (settings.do_train or settings.do_eval or settings.do_predict):
        raise InputError("expected --do_train, --do_eval or --do_predict, but got none of them")
    if not 0 <= settings.eval_fraction < 1:
        raise InputError(f"--eval_fraction: expected at least 0 and below 1, but got {settings.eval_fraction}")


def _train(job: TrainingJob, model, features: dict, settings: FinetuneSettings, tokenizer: Tokenizer) -> dict:
    count, batch_size, seed = len(features["labels"]), settings.train_batch_size, settings.seed
    num_steps = max(1, int(count / batch_size * settings.num_train_epochs))
    optimizer = job.optimizer(**settings.schedule(num_steps))
    unchanging = {
        "train_batch_size": batch_size,
        "max_seq_length": settings.max_seq_length,
        "labels": list(model.labels),
        "train_examples": count,
        "seed": seed,
        "optimizer": settings.optimizer,
    }
    _say(f"{count:,} sentences, {model.num_labels} labels, {num_steps:,} steps of {batch_size}")
    trained = job.train(
        model,
        optimizer,
        training_batches(features, batch_size, seed=seed),
        TASK,
        num_steps=num_steps,
        unchanging=unchanging,
        save=lambda folder: model.save_pretrained(folder, tokenizer),
    )
    return {"train_examples": count, **trained}


# ----------------------------------------------------------------------------------------------------------------------
# What is read
# ----------------------------------------------------------------------------------------------------------------------


def find_files(data_dir: str | None, train: str | None, evaluation: str | None, prediction: str | None) -> Sources:
    """Files named by themselves, or else train.tsv, dev.tsv and test.tsv of a folder, as run_classifier has them."""

    def find(given: str | None, name: str) -> str | None:
        if given or not data_dir:
            return given
        path = f"{data_dir.rstrip('/')}/{name}"
        return path if files.exists(path) else None

    return Sources(find(train, "train.tsv"), find(evaluation, "dev.tsv"), find(prediction, "test.tsv"))


def _read_all(sources: Sources, settings: FinetuneSettings) -> tuple[list[Example], list[Example], list[Example]]:
    """The examples that will be needed. Without a file to evaluate on, a part of the training file is held out."""
    holds_out = settings.do_eval and not sources.evaluation and settings.eval_fraction > 0
    train, evaluation, prediction = [], [], []
    if settings.do_train or holds_out:
        train = sentences.read_tsv(_needed(sources.train, "--do_train", "--train_file", "train.tsv"))
    if holds_out:
        train, evaluation = hold_out(train, settings.eval_fraction, settings.seed)
    elif settings.do_eval:
        evaluation = sentences.read_tsv(
            _needed(sources.evaluation, "--do_eval", "--eval_file (or --eval_fraction)", "dev.tsv")
        )
    if settings.do_predict:
        path = _needed(sources.prediction, "--do_predict", "--predict_file", "test.tsv")
        prediction = sentences.read_tsv(path, labelled=False)
    return train, evaluation, prediction


def _needed(path: str | None, what: str, flag: str, name: str) -> str:
    if path is None:
        raise InputError(f"{what}: expected {flag}, or {name} in --data_dir, but there is neither")
    return path


def _choose_labels(
    examples: Sequence[Example], begin: str | None, settings: FinetuneSettings, config: BertConfig
) -> Labels:
    """The labels of the model: those that the weights to begin with know, if they know all that the examples have.

    To predict alone, a model must have labels, each sentence one of them.
    """
    held = weights.held_labels(MODEL, begin, config) if begin else None
    fits = held is not None and held.problem_type in (None, SINGLE_LABEL)
    if settings.do_train:
        of_data = sentences.label_list(examples)
        names = tuple(labels.choose(of_data, held.names if fits else None))
        new_problem = SINGLE_LABEL if held and not fits else None
        return Labels(names, held.problem_type if fits and names == held.names else new_problem)
    if held and not fits:
        raise InputError(
            f"{begin}: expected a classifier of one label a sentence, but this one is for {held.problem_type}"
        )
    return held or Labels(())


def _make_model(
    config: BertConfig, begin: str | None, settings: FinetuneSettings, held: Labels
) -> models.BertForSequenceClassification:
    if settings.do_train:
        named = {"labels": held.names, "problem_type": held.problem_type}
        return start.model_to_train(MODEL, config, begin, settings.output_dir, **named)
    return MODEL.from_pretrained(begin, config=config, require_trained=True)


# ----------------------------------------------------------------------------------------------------------------------
# Batches
# ----------------------------------------------------------------------------------------------------------------------


class _Encoding:
    """Examples to arrays, and how many had to be cut."""

    def __init__(self, tokenizer: Tokenizer, max_seq_length: int, num_workers: int):
        self._tokenizer, self._max_seq_length, self._num_workers = tokenizer, max_seq_length, num_workers
        self.truncated, self.unknown_share = 0, 0.0

    def inputs(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        encoded = sentences.encode(examples, self._tokenizer, num_workers=self._num_workers)
        cut = sum(sentences.length(ids) > self._max_seq_length for ids in encoded)
        if cut:
            _say(f"{cut:,} of {len(encoded):,} sentences are longer than {self._max_seq_length} and were cut")
        self.truncated += cut
        pieces = (ids for pair in encoded for ids in pair)
        self.unknown_share = unknown.report_ids("sentences", pieces, self._tokenizer.unk_id)
        return sentences.pad(encoded, self._tokenizer, max_seq_length=self._max_seq_length)

    def features(self, examples: Sequence[Example], labels: list[str]) -> dict[str, np.ndarray]:
        return {**self.inputs(examples), "labels": sentences.label_ids(examples, labels)}


def training_batches(features: dict[str, np.ndarray], batch_size: int, *, seed: int) -> tf.data.Dataset:
    """Endless shuffled batches. Row numbers are shuffled, not rows: the saved state of the iterator stays small."""
    rows = len(features["labels"])
    tensors = {name: tf.constant(array) for name, array in features.items()}
    dataset = tf.data.Dataset.range(rows).shuffle(rows, seed=seed).repeat().batch(batch_size, drop_remainder=True)
    return dataset.map(lambda batch: {name: tf.gather(tensor, batch) for name, tensor in tensors.items()})


def predict(model, encoding: _Encoding, examples: Sequence[Example], batch_size: int, strategy) -> np.ndarray:
    """float32 [examples, labels]: the probability of every label. Sentences of like length are computed together."""
    inputs = encoding.inputs(examples)
    order = np.argsort(inputs["input_mask"].sum(axis=1), kind="stable")
    logits = loop.predict(model, _like_lengths(inputs, order, batch_size), strategy=strategy)["logits"]
    probabilities = np.empty_like(logits)
    probabilities[order] = _softmax(logits)
    return probabilities


def _like_lengths(inputs: dict[str, np.ndarray], order: np.ndarray, batch_size: int) -> Iterable[dict]:
    """Batches in this order, each cut to a multiple of 32 that holds its longest row: a few shapes in all."""
    longest = inputs["input_mask"].shape[1]
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        length = min(longest, -(-int(inputs["input_mask"][rows].sum(axis=1).max()) // 32) * 32)
        yield {name: inputs[name][rows, :length] for name in INPUTS}


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


# ----------------------------------------------------------------------------------------------------------------------
# What comes of it
# ----------------------------------------------------------------------------------------------------------------------


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """`accuracy`, `f1` (the mean over the labels; of label 1 alone where there are two), `loss`, `confusion`.

    A label that neither occurs nor is predicted has no F1 and does not count in the mean.
    """
    count = probabilities.shape[1]
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    relevant = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = 2 * np.diag(confusion) / np.maximum(relevant, 1)
    chosen = probabilities[np.arange(len(labels)), labels]
    return {
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "f1": float(f1[1] if count == 2 else f1[relevant > 0].mean()),
        "f1_of_each": [float(value) for value in f1],
        "loss": float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean()),
        "confusion": confusion.tolist(),
    }


def _write_scores(output_dir: str, scores: dict, global_step: int, labels: Sequence[str]) -> None:
    results = {
        "eval_accuracy": scores["accuracy"],
        "eval_f1": scores["f1"],
        "eval_loss": scores["loss"],
        "global_step": global_step,
    }
    write_eval_results(output_dir, results)
    with files.whole_file(f"{output_dir}/confusion.tsv") as file:
        file.write("\t".join(["true \\ predicted", *labels]) + "\n")
        for label, row in zip(labels, scores["confusion"], strict=True):
            _say(f"  {label}: " + "  ".join(f"{name} {n:,}" for name, n in zip(labels, row, strict=True)))
            file.write("\t".join([label, *map(str, row)]) + "\n")


def write_predictions(path: str, examples: Sequence[Example], probabilities: np.ndarray, labels: Sequence[str]) -> None:
    """A TSV with a header: the id, the predicted label, the probability of every label."""
    with files.whole_file(path) as file:
        file.write("\t".join(["id", "predicted", *(f"probability_{label}" for label in labels)]) + "\n")
        for example, row in zip(examples, probabilities, strict=True):
            file.write("\t".join([example.id, labels[int(row.argmax())], *(f"{value:.6f}" for value in row)]) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
