"""Fine-tunes a reader (extractive question answering) and predicts with it, from files of questions to files of
answers.

    output_dir/checkpoints/            what a run resumes from
               train_log.jsonl         and events/ for TensorBoard
               features/               windows, kept under a hash of all that decides them
               alignment_report.json   every answer that was repaired or left out, with its id
               model/                  a model directory
               predictions.json        {id: answer}; predictions_raw.json and predictions_stripped.json beside it
               nbest_predictions.json  the best answers of each question, raw beside stripped
               null_odds.json          SQuAD 2.0: how much "no answer" is preferred to the best answer
               eval_results.txt        where the file of questions has answers

`tools/finetune_mrc.py` makes one call to this module.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.progress import progress
from kobert_tf2.reading import answers, evaluation, metrics, squad_files, training_windows, window_cache
from kobert_tf2.reading import report as mrc_report
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.answers import Answer, Span, with_probabilities
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.settings import ReadingSettings, strips_josa
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows
from kobert_tf2.tasks import preflight as preflight_module
from kobert_tf2.tasks import start
from kobert_tf2.tokenization import batches as batches_by_length
from kobert_tf2.tokenization import pretrained, unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import loop, losses, unchanging
from kobert_tf2.training import report as training_report
from kobert_tf2.training.dataset import dataset_of_batches
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.scores import write_eval_results
from kobert_tf2.training.settings import EpochTaskSettings

TASK = loop.Task(weights=losses.span_weights, sums=losses.span_sums)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(EpochTaskSettings):
    """The settings of a reader run; the fields are the flags of `tools/finetune_mrc.py`.

    Attributes:
      train_file, predict_file: KorQuAD or SQuAD JSON.
      max_seq_length, doc_stride, max_query_length: in tokens; see `windows.make_windows`.
      n_best_size: answers per question in nbest_predictions.json.
      max_answer_length: maximum tokens of an answer.
      version_2_with_negative: SQuAD 2.0, in which some questions have no answer.
      null_score_diff_threshold: in SQuAD 2.0, "no answer" is predicted if its score is higher by more than this.
      unanswerable_windows: how training windows without the answer are handled: "keep", "drop" or "sample".
      strip_josa: whether answers in predictions.json are stripped of particles; None: if the tokenizer has no
        morphemes.
      metric: one of `metrics.METRICS`; None: depends on the questions, or squad2 with `version_2_with_negative`.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    n_best_size: int = 20
    max_answer_length: int = 30
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0
    unanswerable_windows: str = "keep"
    strip_josa: bool | None = None
    metric: str | None = None

    @property
    def reading(self) -> ReadingSettings:
        """The settings that determine how texts are read."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(ReadingSettings)}
        threshold = self.null_score_diff_threshold if self.version_2_with_negative else None
        return ReadingSettings(**given | {"null_score_diff_threshold": threshold})


def _is_nbest(path: str) -> bool:
    entries: Any = next(iter(files.read_json(path, dict).values()), [])
    return isinstance(entries, list) and all(isinstance(entry, dict) and "stripped_start" in entry for entry in entries)


# For each file of this task, a function that recognises our file of that name.
_WRITTEN = {
    "alignment_report.json": lambda path: {"counts", "repaired_or_noted"} <= files.read_json(path, dict).keys(),
    "nbest_predictions.json": _is_nbest,
    **dict.fromkeys(("predictions.json", "predictions_raw.json", "predictions_stripped.json", "null_odds.json")),
}


def finetune(settings: FinetuneSettings) -> dict:
    """Trains, predicts or both.

    Returns a summary: `global_step`, `padding`, `predictions` and, if gold answers are known, `exact_match`, `f1` (of
    predictions.json), `raw` and `stripped`. Raises `InputError` for errors that a user can fix.
    """
    _check_asked(settings)
    output_dir, init_checkpoint = settings.output_dir, settings.init_checkpoint
    job = TrainingJob.start(settings)
    job.claim(job_inputs(settings), _WRITTEN, trains=settings.do_train)
    begin = init_checkpoint if settings.do_train else start.model_to_predict_with(output_dir, init_checkpoint)
    tokenizer = pretrained.from_flags(Tokenizer, settings.vocab_file, begin, settings.tokenizer_settings)
    config = start.find_config(settings.bert_config_file, begin, vocab_size=len(tokenizer.vocab))
    fit = {"vocab_size": len(tokenizer.vocab), "max_seq_length": settings.max_seq_length}
    start.check_fits(config, settings.bert_config_file or begin, **fit)
    config.check_takes_pairs(settings.bert_config_file or begin, "a reader takes a question and a context")
    lengths: dict[str, Any] = settings.reading.lengths
    make_windows = functools.partial(
        window_cache.windows_of_file,
        tokenizer=tokenizer,
        cache_dir=f"{output_dir}/features",
        num_workers=settings.num_workers,
        progress=progress,
        **lengths,
    )

    summary: dict[str, Any] = {"output_dir": output_dir}
    model = None
    if settings.do_train:
        data = _TrainingData(settings, make_windows)
        model = job.make(
            lambda: start.model_to_train(models.BertForQuestionAnswering, config, init_checkpoint, output_dir)
        )
        score = _dev_score(job, model, settings, make_windows, tokenizer)
        summary |= _train(job, model, data, settings, tokenizer, score)
    if settings.do_predict:
        load = models.BertForQuestionAnswering.from_pretrained
        model = model or job.make(lambda: load(begin or "", require_trained=True))
        summary |= _predict(job, model, settings, make_windows, tokenizer)
    return summary


def preflight(settings: FinetuneSettings, asked: preflight_module.PreflightSettings) -> dict:
    """Compiles the training program of these settings as for a TPU and reports its costs; needs no TPU and no data."""
    targets: dict[str, list[int]] = {"start_positions": [], "end_positions": []}
    return preflight_module.of_fine_tuning(
        models.BertForQuestionAnswering, TASK, settings, asked, targets=targets, lengths_vary=True
    )


def _check_asked(settings: FinetuneSettings) -> None:
    if not settings.do_train and not settings.do_predict:
        raise InputError("expected --do_train, --do_predict or both, but got neither")
    if settings.do_train and not settings.train_file:
        raise InputError("expected --train_file with --do_train, but it is not given")
    if settings.do_predict and not settings.predict_file:
        raise InputError("expected --predict_file with --do_predict, but it is not given")
    settings.reading.check()


def _train(
    job: TrainingJob,
    model: keras.Model,
    data: "_TrainingData",
    settings: FinetuneSettings,
    tokenizer: Tokenizer,
    score: Callable[[], float] | None,
) -> dict:
    if job.is_chief:
        files.write_json(f"{job.output_dir}/alignment_report.json", data.report)
    for name, value in data.report["counts"].items():
        print(f"  {name}: {value}", file=sys.stderr)
    share = unknown.report_rows(settings.train_file or "", data.windows.input_ids, data.windows.input_mask, tokenizer)
    optimizer = job.optimizer(**settings.schedule(data.num_steps))
    kept = dataclasses.replace(settings.reading, strip_josa=strips_josa(settings.strip_josa, tokenizer))
    trained = job.train(
        model,
        optimizer,
        data.dataset(),
        dataclasses.replace(TASK, score=score),
        num_steps=data.num_steps,
        must_not_change={
            **unchanging.file_read("train_file", settings.train_file or ""),
            **unchanging.tokenizer_used(tokenizer),
            "windows": len(data.windows),
            "num_steps": data.num_steps,
        },
        save=lambda folder: model.save_pretrained(folder, tokenizer, task_specific_params=kept.to_config()),
    )
    return {
        "train_padding": round(data.padding, 4),
        "train_windows": len(data.windows),
        "train_unknown_share": share,
        **trained,
    }


def _predict(
    job: TrainingJob,
    model: keras.Model,
    settings: FinetuneSettings,
    make_windows: Callable[..., Windows],
    tokenizer: Tokenizer,
) -> dict:
    """Predicts the answers to the questions of a file."""
    path = settings.predict_file or ""
    questions = squad_files.read_squad(path)
    windows = make_windows(path, questions)
    found, batches = _answers(job, model, settings, questions, windows)
    summary = {
        "predict_padding": round(batches_by_length.padding_share(batches, windows.lengths), 4),
        "predict_unknown_share": unknown.report_rows(path, windows.input_ids, windows.input_mask, tokenizer),
    }
    return {**summary, **write_predictions(settings, questions, found, tokenizer)} if job.is_chief else summary


def _answers(
    job: TrainingJob, model: keras.Model, settings: FinetuneSettings, questions: Sequence[Question], windows: Windows
) -> tuple[list[Answer], list]:
    """The answers to the questions, and the batches used to compute them."""
    widths = batches_by_length.bucket_widths(windows.lengths, longest=windows.input_ids.shape[1])
    batches = batches_by_length.prediction_batches(windows.lengths, widths, settings.predict_batch_size)

    def forward(inputs: Iterable[dict]) -> Iterable[dict]:
        reported = progress(inputs, "prediction", total=len(batches), unit="batches")
        return loop.predict_batches(model, reported, strategy=job.strategy, jit_compile=settings.jit_compile)

    logits = reading_windows.predict_logits(windows, batches, forward)
    with_null = settings.reading.null_score_diff_threshold is not None
    best: dict[str, Any] = settings.reading.best
    return answers.decode(questions, windows, *logits, **best, with_null=with_null), batches


def _dev_score(
    job: TrainingJob,
    model: keras.Model,
    settings: FinetuneSettings,
    make_windows: Callable[..., Windows],
    tokenizer: Tokenizer,
) -> Callable[[], float] | None:
    """For early stopping: the F1 of the answers to `predict_file`, if it has gold answers."""
    if not settings.looks_at_score or not settings.predict_file:
        return None
    questions = squad_files.read_squad(settings.predict_file)
    gold, metric = squad_files.gold_answers(questions), _metric(settings, questions)
    if not all(gold.values()) and metric != "squad2":
        return None
    windows = make_windows(settings.predict_file, questions)
    strip, stripper = strips_josa(settings.strip_josa, tokenizer), JosaStripper(tokenizer.analyser)
    threshold = settings.reading.null_score_diff_threshold

    def score() -> float:
        texts = {}
        for question, answer in zip(questions, _answers(job, model, settings, questions, windows)[0], strict=True):
            entry = _NOTHING if answer.is_none(threshold) else _entry(question, answer.spans[0], stripper)
            texts[question.id] = entry["stripped" if strip else "text"]
        result = metrics.evaluate(metric, gold, texts)
        return float(result.get("f1", result["exact_match"]))

    return score


def _metric(settings: FinetuneSettings, questions: Sequence[Question]) -> str:
    metric = settings.metric or evaluation.metric_of(questions)
    if settings.metric is None and settings.version_2_with_negative and metric == "korquad1":
        return "squad2"
    return metric


# ---------------------------------------------------------------------------------------------------------------------
# Features and batches
# ---------------------------------------------------------------------------------------------------------------------


class _TrainingData:
    """The training windows, and the order of the batches for all epochs."""

    def __init__(self, settings: FinetuneSettings, make_windows: Callable[..., Windows]):
        path, batch_size, epochs = settings.train_file or "", settings.train_batch_size, settings.num_train_epochs
        seed = settings.seed
        questions, repairs = squad_files.read_squad_and_repairs(path)
        kept, left_out = training_windows.trainable(questions, with_negative=settings.version_2_with_negative)
        if not kept:
            raise InputError(f"{path}: expected questions to train on, but none has an answer in its context")
        windows = make_windows(path, kept, with_answers=True)
        left_out += training_windows.without_answer(windows, kept)
        self.windows = training_windows.choose_windows(windows, kept, settings.unanswerable_windows, seed)
        self.report = training_windows.alignment_report(questions, repairs, left_out, windows, self.windows)
        lengths = self.windows.lengths
        widths = batches_by_length.bucket_widths(lengths, longest=windows.input_ids.shape[1])
        self.batches, self.num_steps = batches_by_length.batches_of_epochs(
            lengths, widths, batch_size, epochs=epochs, seed=seed
        )
        self.padding = batches_by_length.padding_share(self.batches, lengths)

    def dataset(self) -> tf.data.Dataset:
        return dataset_of_batches(self.windows.features(), self.batches)


# ---------------------------------------------------------------------------------------------------------------------
# Prediction
# ---------------------------------------------------------------------------------------------------------------------


def write_predictions(
    settings: FinetuneSettings, questions: Sequence[Question], found: Sequence[Answer], tokenizer: Tokenizer
) -> dict:
    """Writes the files of answers and scores, and returns their summary."""
    output_dir, threshold = settings.output_dir, settings.reading.null_score_diff_threshold
    stripper = JosaStripper(tokenizer.analyser)
    nbest, raw, stripped = {}, {}, {}
    reported = progress(zip(questions, found, strict=True), "answers", total=len(questions), unit="questions")
    for question, answer in reported:
        spans = with_probabilities(answer.ranked()[: settings.n_best_size])
        nbest[question.id] = [_entry(question, span, stripper) for span in spans]
        entry = _NOTHING if answer.is_none(threshold) else _entry(question, answer.spans[0], stripper)
        raw[question.id], stripped[question.id] = entry["text"], entry["stripped"]
    odds = {question.id: answer.null_score_diff for question, answer in zip(questions, found, strict=True)}
    strip = strips_josa(settings.strip_josa, tokenizer)
    files.write_json(f"{output_dir}/nbest_predictions.json", nbest)
    files.write_json(f"{output_dir}/predictions_raw.json", raw)
    files.write_json(f"{output_dir}/predictions_stripped.json", stripped)
    files.write_json(f"{output_dir}/predictions.json", stripped if strip else raw)
    if threshold is not None:
        files.write_json(f"{output_dir}/null_odds.json", odds)
    summary = {"predictions": len(questions), "strip_josa": strip}
    metric = _metric(settings, questions)
    texts = {"raw": raw, "stripped": stripped}
    scores = _scores(output_dir, questions, texts, strip, metric, odds if threshold is not None else None)
    if scores:
        places = mrc_report.predicted_spans(questions, raw, nbest)
        curves = training_report.curves(output_dir)
        path = f"{output_dir}/{training_report.FILE}"
        mrc_report.write(path, questions, stripped if strip else raw, places, metric, nbest=nbest, more=curves)
    return summary | scores


_NOTHING = {"text": "", "stripped": ""}


def _entry(question: Question, span: Span, stripper: JosaStripper) -> dict:
    """One of the n best answers in the original's format, with its offset in the context and the stripped text."""
    start, end = stripper(question.context, span.start, span.end)
    return {
        "text": span.text,
        "stripped": question.context[start:end],
        "start": span.start,
        "end": span.end,
        "stripped_start": start,
        "stripped_end": end,
        "probability": span.probability,
        "start_logit": span.start_logit,
        "end_logit": span.end_logit,
    }


def _scores(
    output_dir: str,
    questions: Sequence[Question],
    texts: dict[str, dict[str, str]],
    strip: bool,
    metric: str,
    odds: dict[str, float | None] | None,
) -> dict:
    """EM and F1 (or ROUGE-W) of the raw and the stripped answers, if the file has gold answers."""
    gold = squad_files.gold_answers(questions)
    none_said = not any(gold.values()) and not any(question.is_impossible for question in questions)
    if none_said or (not all(gold.values()) and metric not in metrics.WITH_NO_ANSWER):
        print("not every question has a gold answer: nothing to score", file=sys.stderr)
        return {}
    results = {
        kind: evaluation.scores_of(metric, questions, answers, null_odds=odds, null_threshold=np.inf)
        for kind, answers in texts.items()
    }
    chosen = results["stripped" if strip else "raw"]
    names = ("exact_match", metrics.overlap_name(metric))
    both = {kind: {name: result[name] for name in names} for kind, result in results.items()}
    flat = {f"{kind}_{name}": value for kind, scores in both.items() for name, value in scores.items()}
    write_eval_results(output_dir, {"metric": metric, **chosen, **flat})
    rounded = {kind: {name: round(value, 4) for name, value in scores.items()} for kind, scores in both.items()}
    return {"metric": metric, **chosen, **rounded}
