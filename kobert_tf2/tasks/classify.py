"""Fine-tunes classifiers and regressors of sentences and sentence pairs: reads files, writes a model directory, scores
and predictions.

    output_dir/checkpoints/        what a run resumes from
               model/              a model directory; its config.json names the labels, the kind of problem, and what
                                   `labelling/settings.py` keeps
               eval_results.txt    under the keys of the original run_classifier, and the other scores
               confusion.tsv       of one label: a row for each true label, a column for each predicted one
               predictions.tsv     id, predicted label (labels, number) and the probability of every label

The problem type (`labelling/problems.py`) determines the form of the labels, the loss, the scores and the form of the
predictions. `tools/finetune_classifier.py` makes one call to this module.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import labels as head_labels
from kobert_tf2.bert import models, resizing
from kobert_tf2.bert import pretrained as weights
from kobert_tf2.bert.checkpoint_files import find_source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import labels, problems, report, sentence_files, sentence_metrics, sentences
from kobert_tf2.labelling.relations import MARKERS, Markers
from kobert_tf2.labelling.sentence_files import Columns, Example, ReadingOptions, SentenceFile
from kobert_tf2.labelling.settings import ClassifierSettings
from kobert_tf2.tasks import preflight as preflight_module
from kobert_tf2.tasks import start
from kobert_tf2.tasks.hold_out import hold_out
from kobert_tf2.tokenization import pretrained, unknown
from kobert_tf2.tokenization.added_tokens import with_special_tokens
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import loop, losses, unchanging
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.scores import write_eval_results
from kobert_tf2.training.settings import EpochTaskSettings

MODEL = models.BertForSequenceClassification
TASKS = {
    problems.SINGLE_LABEL: loop.Task(weights=losses.label_weights, sums=losses.label_sums),
    problems.MULTI_LABEL: loop.Task(weights=losses.label_weights, sums=losses.multi_label_sums),
    problems.REGRESSION: loop.Task(weights=losses.label_weights, sums=losses.regression_sums),
}
INPUTS = ("input_ids", "input_mask", "segment_ids")


class Sources(NamedTuple):
    """The paths of the three files; None for one that does not exist."""

    train: str | None
    evaluation: str | None
    prediction: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(EpochTaskSettings):
    """The settings of a classifier run; the fields are the flags of `tools/finetune_classifier.py`.

    Attributes:
      data_dir: the folder of train.tsv, dev.tsv and test.tsv (or .json, .jsonl); `train_file`, `eval_file` and
        `predict_file` override them.
      eval_fraction: the fraction of the training file that is held out if there is no evaluation file.
      max_seq_length: maximum pieces of a row; longer rows are truncated and counted. None: the trained model's, or 128.
      eval_batch_size: rows in a global batch, over all replicas.
      problem_type: one of `problems.OF_FLAG`; None: the trained model's, or inferred from the training file.
      text_column, pair_column, label_column: columns in all files; see `sentence_files.Columns`.
      label_separator: the separator of several labels in a cell.
      score_range: the lowest and the highest value of a regression.
      threshold: the probability from which a label is assigned in multi-label problems; None: the model's, or 0.5.
      choose_thresholds: choose one threshold per label on the evaluation examples, and save them in the model.
      additional_special_tokens: strings that become one piece each; their embeddings are trained.
      entity_markers: the markers around the subject and the object of KLUE-RE; None: the model's, or `MARKERS`.
    """

    may_grow = "num_train_epochs"

    max_seq_length: int | None = None  # type: ignore[assignment]  # replaced before anything uses it
    data_dir: str | None = None
    eval_file: str | None = None
    eval_fraction: float = 0.0
    do_eval: bool = False
    eval_batch_size: int = 8
    problem_type: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    label_separator: str = ","
    score_range: Sequence[float | str] | None = None
    threshold: float | None = None
    choose_thresholds: bool = False
    additional_special_tokens: Sequence[str] = ()
    entity_markers: Sequence[str] | None = None


def _first_line(path: str) -> str:
    return next(iter(files.read_lines(path)), "")


# For each file of this task, a function that recognises our file of that name.
_WRITTEN = {
    "confusion.tsv": lambda path: _first_line(path).startswith("true \\ predicted\t"),
    "predictions.tsv": lambda path: _first_line(path).startswith("id\tpredicted"),
}


def finetune(settings: FinetuneSettings) -> dict:
    """Trains, evaluates, predicts.

    Returns a summary: `global_step`, `problem_type`, `labels`, the scores of `sentence_metrics`, and the paths of the
    files written. Raises `InputError` for errors that a user can fix.
    """
    _check_asked(settings)
    job, sources, begin = _claimed(settings)
    run = _prepared(job, sources, begin, settings)
    # Before training, so that an unknown label is reported now.
    targets = sentences.targets(run.data.evaluation, run.labels.names) if run.data.evaluation is not None else None
    encoding = _Encoding(run.tokenizer, run.length, settings.num_workers)
    answering, kept = _Answering(run.model, job), run.kept
    summary: dict[str, Any] = {
        "output_dir": settings.output_dir,
        "problem_type": run.labels.kind,
        "labels": list(run.labels.names),
    }
    features = encoding.features(run.data.train, run.labels.names) if run.data.train and settings.do_train else None
    dev = None
    if run.data.evaluation is not None and targets is not None:
        examples = run.data.evaluation.examples
        dev = _Dev(examples, encoding.inputs(examples), targets)
    if features is not None:
        score = functools.partial(_dev_score, answering, run, dev) if dev is not None else None
        summary |= _train(job, run, features, sources.train or "", score)
    if dev is not None:
        kept, scores = _evaluate(answering, run, dev)
        summary |= {"eval_examples": len(dev.targets), **scores}
        if job.is_chief:
            _write_scores(settings.output_dir, scores, summary.get("global_step", 0), run.labels.names)
    if run.data.prediction is not None:
        examples = run.data.prediction.examples
        summary |= _predict(answering, run, examples, encoding.inputs(examples), kept)
    if kept.thresholds is not None:
        summary["thresholds"] = dict(kept.thresholds)
    return summary | {"truncated": encoding.truncated, "unknown_share": encoding.unknown_share}


def _claimed(settings: FinetuneSettings) -> tuple[TrainingJob, Sources, str | None]:
    """The job after it claimed its output_dir, the files that it reads, and the weights that it starts from."""
    sources = find_files(settings.data_dir, settings.train_file, settings.eval_file, settings.predict_file)
    job = TrainingJob.start(settings)
    inputs = {**job_inputs(settings), "train_file": sources.train, "eval_file": sources.evaluation}
    job.claim({**inputs, "predict_file": sources.prediction}, _WRITTEN, trains=settings.do_train)
    if settings.do_train:
        return job, sources, settings.init_checkpoint
    return job, sources, start.model_to_predict_with(settings.output_dir, settings.init_checkpoint)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """The inputs of a run; `kept` are the settings saved with the weights, `length` the pieces of a row."""

    settings: FinetuneSettings
    length: int
    tokenizer: Tokenizer
    data: "_Data"
    labels: Labels
    kept: ClassifierSettings
    model: models.BertForSequenceClassification


def _prepared(job: TrainingJob, sources: Sources, begin: str | None, settings: FinetuneSettings) -> _Prepared:
    """Loads tokenizer, configuration, data and model, and checks that they fit each other."""
    tokenizer = pretrained.from_flags(Tokenizer, settings.vocab_file, begin, settings.tokenizer_settings)
    config_source = settings.bert_config_file or begin
    config = start.find_config(settings.bert_config_file, begin, vocab_size=len(tokenizer.vocab))
    known = _Known.of(begin, config, settings)
    length = _length(settings, known)
    settings = dataclasses.replace(settings, max_seq_length=length)
    start.check_fits(config, config_source, vocab_size=len(tokenizer.vocab), max_seq_length=length)
    data = _read_all(sources, settings, known)
    if data.have_pairs:
        config.check_takes_pairs(config_source, "there are pairs of sentences (document2)")
    tokenizer = _with_special_tokens(tokenizer, settings, data, known, begin)
    chosen = _choose_labels(data, known, settings)
    model = job.make(lambda: _make_model(config, begin, settings, chosen, len(tokenizer.vocab)))
    kept = _to_keep(settings, data, known, chosen)
    return _Prepared(settings, length, tokenizer, data, chosen, kept, model)


def preflight(settings: FinetuneSettings, asked: preflight_module.PreflightSettings) -> dict:
    """Compiles the training program of these settings as for a TPU and reports its costs; needs no TPU and no data."""
    kind = problems.OF_FLAG.get(settings.problem_type or "", problems.SINGLE_LABEL)
    settings = dataclasses.replace(settings, max_seq_length=settings.max_seq_length or EpochTaskSettings.max_seq_length)
    targets: dict[str, list[int]] = {"labels": [2] if kind == problems.MULTI_LABEL else []}
    return preflight_module.of_fine_tuning(MODEL, TASKS[kind], settings, asked, targets=targets, lengths_vary=False)


def _check_asked(settings: FinetuneSettings) -> None:
    if not (settings.do_train or settings.do_eval or settings.do_predict):
        raise InputError("expected --do_train, --do_eval or --do_predict, but got none of them")
    if not 0 <= settings.eval_fraction < 1:
        raise InputError(f"--eval_fraction: expected at least 0 and below 1, but got {settings.eval_fraction}")
    if settings.problem_type is not None and settings.problem_type not in problems.OF_FLAG:
        kinds = ", ".join(problems.OF_FLAG)
        raise InputError(f"--problem_type: expected one of {kinds}, but got {settings.problem_type!r}")
    if settings.choose_thresholds and not settings.do_eval:
        raise InputError("--choose_thresholds: expected --do_eval with it: they are chosen on the examples to evaluate")
    if settings.choose_thresholds and not settings.do_train and not start.trained_model(settings.output_dir):
        raise InputError(f"--choose_thresholds: expected a model in {settings.output_dir}/model, which is to keep them")
    if not settings.label_separator:
        raise InputError("--label_separator: expected what stands between the labels of a cell, but it is empty")


def _length(settings: FinetuneSettings, known: "_Known") -> int:
    kept = None if settings.do_train else known.settings.max_seq_length
    return settings.max_seq_length or kept or EpochTaskSettings.max_seq_length


def _train(
    job: TrainingJob,
    run: _Prepared,
    features: dict[str, np.ndarray],
    path: str,
    score: Callable[[], float] | None,
) -> dict[str, Any]:
    """Trains on the features of the file at `path` and saves the model with its settings; early stopping uses
    `score`.
    """
    settings, labels, model = run.settings, run.labels, run.model
    count, batch_size, seed = len(features["labels"]), settings.train_batch_size, settings.seed
    num_steps = max(1, int(count / batch_size * settings.num_train_epochs))
    optimizer = job.optimizer(**settings.schedule(num_steps))
    must_not_change = {
        **unchanging.file_read("train_file", path),
        **unchanging.tokenizer_used(run.tokenizer),
        "max_seq_length": run.length,
        "problem_type": labels.kind,
        "labels": list(labels.names),
        "train_examples": count,
    }
    answers = "numbers" if labels.kind == problems.REGRESSION else f"{len(labels.names)} labels"
    _say(f"{count:,} sentences, {answers}, {num_steps:,} steps of {batch_size}")
    kept = run.kept.to_config()
    trained = job.train(
        model,
        optimizer,
        job.weighted(training_batches(features, batch_size, seed=seed), labels.names, features["labels"]),
        dataclasses.replace(TASKS[labels.kind], score=score),
        num_steps=num_steps,
        must_not_change=must_not_change,
        save=lambda folder: model.save_pretrained(folder, run.tokenizer, task_specific_params=kept),
    )
    return {"train_examples": count, **trained}


# ----------------------------------------------------------------------------------------------------------------------
# What is read
# ----------------------------------------------------------------------------------------------------------------------


def find_files(data_dir: str | None, train: str | None, evaluation: str | None, prediction: str | None) -> Sources:
    """The files given by their own flags, otherwise train.tsv, dev.tsv and test.tsv of a folder, as in
    run_classifier.
    """

    def find(given: str | None, name: str) -> str | None:
        if given or not data_dir:
            return given
        paths = [f"{data_dir.rstrip('/')}/{name}.{ending}" for ending in ("tsv", "json", "jsonl")]
        return next(filter(files.exists, paths), None)

    return Sources(find(train, "train"), find(evaluation, "dev"), find(prediction, "test"))


class _Known(NamedTuple):
    """What the initial model records about its head; `labels` is None if it is not a sentence classifier."""

    source: str
    labels: Labels | None
    settings: ClassifierSettings

    @classmethod
    def of(cls, begin: str | None, config: BertConfig, settings: FinetuneSettings) -> "_Known":
        held = weights.held_labels(MODEL, begin, config) if begin else None
        if begin is None or held is None:
            return cls(begin or "", None, ClassifierSettings())
        if not settings.do_train:
            problems.check_head(held.kind, held.names, begin)
        asked = problems.OF_FLAG.get(settings.problem_type or "")
        if not settings.do_train and asked not in (None, held.kind):
            raise InputError(f"{begin}: this model is for {held.kind}, but --problem_type is {settings.problem_type}")
        return cls(begin, held, ClassifierSettings.kept_in(find_source(begin).config, held.names))


class _Data(NamedTuple):
    """The contents of the files that are needed, None for the others. If a part of the training file is held out,
    `label_names` are those of the whole file.
    """

    train: SentenceFile | None
    evaluation: SentenceFile | None
    prediction: SentenceFile | None
    label_names: list[str]

    @property
    def files(self) -> list[SentenceFile]:
        return [file for file in (self.train, self.evaluation, self.prediction) if file is not None]

    @property
    def have_pairs(self) -> bool:
        return any(file.has_pairs for file in self.files)


def _read_all(sources: Sources, settings: FinetuneSettings, known: _Known) -> _Data:
    """Reads the examples that are needed. Without an evaluation file, a part of the training file is held out."""
    options = _reading_options(settings, known)
    holds_out = settings.do_eval and not sources.evaluation and settings.eval_fraction > 0
    train = evaluation = prediction = None
    names: list[str] = []
    if settings.do_train or holds_out:
        train = sentence_files.read(_needed(sources.train, "--do_train", "--train_file", "train.tsv"), options)
        names = sentences.label_list(train.examples)
        options = dataclasses.replace(options, problem_type=train.problem_type)
    if holds_out and train is not None:
        train, evaluation = _split(train, settings)
    elif settings.do_eval:
        path = _needed(sources.evaluation, "--do_eval", "--eval_file (or --eval_fraction)", "dev.tsv")
        evaluation = sentence_files.read(path, options)
    if settings.do_predict:
        path = _needed(sources.prediction, "--do_predict", "--predict_file", "test.tsv")
        prediction = sentence_files.read(path, options, labelled=False)
    data = _Data(train, evaluation, prediction, names)
    _check_alike(data, None if settings.do_train else known.settings.takes_pairs, known.source)
    return data


def _reading_options(settings: FinetuneSettings, known: _Known) -> ReadingOptions:
    asked = problems.OF_FLAG.get(settings.problem_type or "")
    if asked is None and known.labels is not None and not settings.do_train:
        asked = known.labels.kind
    markers = settings.entity_markers or known.settings.markers or MARKERS
    if len(set(markers)) != len(MARKERS):
        raise InputError(f"--entity_markers: expected four different tokens, but got {','.join(markers)}")
    return ReadingOptions(
        columns=Columns(settings.text_column, settings.pair_column, settings.label_column),
        problem_type=asked,
        label_separator=settings.label_separator,
        score_range=_score_range(settings.score_range),
        markers=Markers(*markers),
    )


def _score_range(given: Sequence[float | str] | None) -> tuple[float, float] | None:
    if not given:
        return None
    try:
        low, high = map(float, given)
        if not low < high:
            raise ValueError
    except ValueError:
        raise InputError(f"--score_range: expected two numbers, the lower first, but got {given!r}") from None
    return low, high


def _split(file: SentenceFile, settings: FinetuneSettings) -> tuple[SentenceFile, SentenceFile]:
    """The remaining part and the held-out part."""
    rows = list(zip(file.lines, file.examples, strict=True))
    parts = hold_out(rows, settings.eval_fraction, settings.seed)
    rest, held_out = (
        dataclasses.replace(file, lines=[line for line, _ in part], examples=[example for _, example in part])
        for part in parts
    )
    unseen = set(sentences.label_list(held_out.examples)) - set(sentences.label_list(rest.examples))
    if unseen:
        _say(
            f"{file.path}: labels that only the held-out part has, and training never sees: {', '.join(sorted(unseen))}"
        )
    return rest, held_out


def _check_alike(data: _Data, takes_pairs: bool | None, model: str) -> None:
    """Checks that either all files have pairs or none has: a model must be used on the input form that it was trained
    on.
    """
    first = data.files[0]
    expected, of = (first.has_pairs, first.path) if takes_pairs is None else (takes_pairs, model)
    for file in data.files:
        if file.has_pairs != expected:
            kinds = {True: "pairs of texts", False: "single texts"}
            raise InputError(
                f"{file.path}, line 1: expected {kinds[expected]}, as {of} has, but found {kinds[file.has_pairs]}; "
                "--pair_column names the second text"
            )


def _needed(path: str | None, what: str, flag: str, name: str) -> str:
    if path is None:
        raise InputError(f"{what}: expected {flag}, or {name} in --data_dir, but there is neither")
    return path


def _with_special_tokens(
    tokenizer: Tokenizer, settings: FinetuneSettings, data: _Data, known: _Known, begin: str | None
) -> Tokenizer:
    """The tokenizer with the requested special tokens, and the markers of a relation, as one piece each."""
    markers = _reading_options(settings, known).markers if any(file.has_markers for file in data.files) else ()
    larger = with_special_tokens(tokenizer, [*settings.additional_special_tokens, *markers])
    if larger is not tokenizer and not settings.do_train:
        new = sorted({token.content for token in larger.added_tokens} - {t.content for t in tokenizer.added_tokens})
        raise InputError(f"{begin}: this model was trained without the special tokens {', '.join(new)}")
    return larger


# ----------------------------------------------------------------------------------------------------------------------
# The model and what it keeps
# ----------------------------------------------------------------------------------------------------------------------


def _choose_labels(data: _Data, known: _Known, settings: FinetuneSettings) -> Labels:
    """The labels of the model: those of the initial weights, if they include all training labels.

    A model that is only to predict must have labels.
    """
    if not settings.do_train or data.train is None:
        return known.labels or Labels(())
    kind = data.train.problem_type
    held = known.labels if known.labels is not None and known.labels.kind == kind else None
    if kind == problems.REGRESSION:
        return Labels(held.names if held and len(held.names) == 1 else head_labels.placeholders(1), kind)
    names = tuple(labels.choose(data.label_names, held.names if held else None))
    fewest = 2 if kind == problems.SINGLE_LABEL else 1
    if len(names) < fewest:
        found = f"all examples have {names[0]!r}" if names else "no example has one"
        raise InputError(f"{data.train.path}: expected at least {fewest} labels to tell apart, but {found}")
    return Labels(names, kind)


def _make_model(
    config: BertConfig, begin: str | None, settings: FinetuneSettings, chosen: Labels, vocab_size: int
) -> models.BertForSequenceClassification:
    """Creates the model, with an embedding row for each new special token."""
    if not settings.do_train:
        return MODEL.from_pretrained(begin or "", config=config, require_trained=True)
    named = {"labels": chosen.names, "problem_type": chosen.problem_type}
    model = start.model_to_train(MODEL, config, begin, settings.output_dir, **named)
    if vocab_size <= config.vocab_size:
        return model
    larger = resizing.resize_token_embeddings(model, vocab_size)
    larger.parts_at_random = model.parts_at_random
    return larger


def _to_keep(settings: FinetuneSettings, data: _Data, known: _Known, chosen: Labels) -> ClassifierSettings:
    """The settings to be saved with the weights; thresholds may still be chosen."""
    first = data.files[0]
    thresholds = None
    if chosen.kind == problems.MULTI_LABEL:
        kept = dict(known.settings.thresholds or {}) if not settings.do_train else {}
        default = problems.DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
        thresholds = {
            name: default if settings.threshold is not None else kept.get(name, default) for name in chosen.names
        }
    elif settings.choose_thresholds or settings.threshold is not None:
        raise InputError(f"--threshold and --choose_thresholds are for several labels, but this is {chosen.kind}")
    return ClassifierSettings(
        max_seq_length=settings.max_seq_length,
        takes_pairs=first.has_pairs,
        thresholds=thresholds,
        score_range=first.score_range or (None if settings.do_train else known.settings.score_range),
        markers=_reading_options(settings, known).markers if first.has_markers else None,
    )


# ----------------------------------------------------------------------------------------------------------------------
# Batches
# ----------------------------------------------------------------------------------------------------------------------


class _Encoding:
    """Converts examples to arrays, and counts truncated ones."""

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

    def features(self, file: SentenceFile, labels: Sequence[str]) -> dict[str, np.ndarray]:
        return {**self.inputs(file.examples), "labels": sentences.targets(file, labels)}


def training_batches(features: dict[str, np.ndarray], batch_size: int, *, seed: int) -> tf.data.Dataset:
    """Endless shuffled batches. Row numbers are shuffled, not rows, so that the saved state of the iterator is
    small.
    """
    rows = len(features["labels"])
    tensors = {name: tf.constant(array) for name, array in features.items()}
    dataset = tf.data.Dataset.range(rows).shuffle(rows, seed=seed).repeat().batch(batch_size, drop_remainder=True)
    return dataset.map(lambda batch: {name: tf.gather(tensor, batch) for name, tensor in tensors.items()})


def _like_lengths(inputs: dict[str, np.ndarray], order: np.ndarray, batch_size: int) -> Iterable[dict]:
    """Batches in this order, each truncated to the smallest multiple of 32 that holds its longest row: only a few
    shapes.
    """
    longest = inputs["input_mask"].shape[1]
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        length = min(longest, -(-int(inputs["input_mask"][rows].sum(axis=1).max()) // 32) * 32)
        yield {name: inputs[name][rows, :length] for name in INPUTS}


class _Answering(NamedTuple):
    """A model that predicts examples with the job's strategy."""

    model: models.BertForSequenceClassification
    job: TrainingJob

    def scores(self, inputs: dict[str, np.ndarray], batch_size: int) -> np.ndarray:
        """float32 [examples, labels], as computed by `problems.scores`; texts of similar length are batched
        together.
        """
        order = np.argsort(inputs["input_mask"].sum(axis=1), kind="stable")
        batches = _like_lengths(inputs, order, batch_size)
        logits = loop.predict(self.model, batches, strategy=self.job.strategy)["logits"]
        scores = np.empty_like(logits)
        scores[order] = problems.scores(logits, Labels(self.model.labels, self.model.problem_type).kind)
        return scores


class _Dev(NamedTuple):
    """The evaluation data."""

    examples: Sequence[Example]
    inputs: dict[str, np.ndarray]
    targets: np.ndarray


# ----------------------------------------------------------------------------------------------------------------------
# What comes of it
# ----------------------------------------------------------------------------------------------------------------------


# The score of `sentence_metrics` used for early stopping.
_DEV_SCORES = {problems.SINGLE_LABEL: "accuracy", problems.MULTI_LABEL: "f1_micro", problems.REGRESSION: "spearman"}


def _dev_score(answering: _Answering, run: _Prepared, dev: _Dev) -> float:
    answers = answering.scores(dev.inputs, run.settings.eval_batch_size)
    score = _scores(run, run.kept, answers, dev.targets)[_DEV_SCORES[run.labels.kind]]
    return -1.0 if score is None else float(score)  # A model that predicts one constant gets the worst score.


def _scores(run: _Prepared, kept: ClassifierSettings, answers: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    labels = run.labels
    return sentence_metrics.score(labels.kind, answers, targets, labels.names, kept.thresholds, kept.score_range)


def _evaluate(answering: _Answering, run: _Prepared, dev: _Dev) -> tuple[ClassifierSettings, dict[str, Any]]:
    """The saved settings, with thresholds if they were to be chosen here, and the scores."""
    kept, names, job = run.kept, run.labels.names, answering.job
    answers = answering.scores(dev.inputs, run.settings.eval_batch_size)
    if run.settings.choose_thresholds:
        kept = _choose_thresholds(job, kept, answers, dev.targets, names)
    scores = _scores(run, kept, answers, dev.targets)
    if job.is_chief:
        texts = [" / ".join(filter(None, (example.text, example.pair))) for example in dev.examples]
        job.write_report(report.sentences(scores, answers, dev.targets, names, texts))
    return kept, scores


def _predict(
    answering: _Answering,
    run: _Prepared,
    examples: Sequence[Example],
    inputs: dict[str, np.ndarray],
    kept: ClassifierSettings,
) -> dict[str, Any]:
    answers = answering.scores(inputs, run.settings.predict_batch_size)
    if not answering.job.is_chief:
        return {}
    path = f"{run.settings.output_dir}/predictions.tsv"
    answer_format = _AnswerFormat(run.labels, kept.thresholds, run.settings.label_separator)
    write_predictions(path, examples, answers, answer_format)
    return {"predictions": path}


def _choose_thresholds(
    job: TrainingJob, kept: ClassifierSettings, answers: np.ndarray, targets: np.ndarray, names: Sequence[str]
) -> ClassifierSettings:
    """The best thresholds for these examples; also written into the model directory with the other settings."""
    chosen = [round(float(value), 6) for value in problems.choose_thresholds(answers, targets)]
    kept = dataclasses.replace(kept, thresholds=dict(zip(names, chosen, strict=True)))
    _say("thresholds chosen on the examples that the scores below are of: on others they will be a little lower")
    if job.is_chief:
        path = f"{job.output_dir}/model/config.json"
        values = files.read_json(path, dict)
        others = values.get("task_specific_params") or {}
        files.write_json(path, {**values, "task_specific_params": {**others, **kept.to_config()}})
    return kept


def _write_scores(output_dir: str, scores: dict, global_step: int, labels: Sequence[str]) -> None:
    plain = {f"eval_{name}": value for name, value in scores.items() if not isinstance(value, list)}
    write_eval_results(output_dir, {**plain, "global_step": global_step})
    if "confusion" not in scores:
        return
    with files.whole_file(f"{output_dir}/confusion.tsv") as file:
        file.write("\t".join(["true \\ predicted", *labels]) + "\n")
        for label, row in zip(labels, scores["confusion"], strict=True):
            _say(f"  {label}: " + "  ".join(f"{name} {n:,}" for name, n in zip(labels, row, strict=True)))
            file.write("\t".join([label, *map(str, row)]) + "\n")


class _AnswerFormat(NamedTuple):
    """The format of a model's predictions in a line of predictions.tsv."""

    labels: Labels
    thresholds: Mapping[str, float] | None
    separator: str

    @property
    def header(self) -> list[str]:
        is_number = self.labels.kind == problems.REGRESSION
        return ["id", "predicted", *([] if is_number else (f"probability_{name}" for name in self.labels.names))]

    def row(self, scores: np.ndarray) -> list[str]:
        names, values = self.labels.names, [f"{value:.6f}" for value in scores]
        if self.labels.kind == problems.REGRESSION:
            return values
        if self.labels.kind == problems.SINGLE_LABEL:
            return [names[int(scores.argmax())], *values]
        chosen = problems.chosen_labels(scores, problems.threshold_row(self.thresholds, names))
        return [self.separator.join(name for name, given in zip(names, chosen, strict=True) if given), *values]


def write_predictions(
    path: str, examples: Sequence[Example], answers: np.ndarray, answer_format: _AnswerFormat
) -> None:
    """Writes a TSV with a header: id, predicted label (labels, number), and the probability of every label."""
    with files.whole_file(path) as file:
        file.write("\t".join(answer_format.header) + "\n")
        for example, row in zip(examples, answers, strict=True):
            file.write("\t".join([example.id, *answer_format.row(row)]) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
