"""Fine-tunes a named entity tagger and predicts with it, from files of entities to files of entities.

    output_dir/checkpoints/           what a run resumes from
               train_log.jsonl        and events/ for TensorBoard
               alignment_report.json  entities whose edge lies inside a token, and those that are lost
               model/                 a model directory; its config.json names the BIO labels, and keeps the lengths
               eval_results.txt       entity and character F1, and each type's
               predictions.json       [{"id", "text", "entities": [{"text", "type", "start", "end", "score"}]}]
               predictions.tsv        the same in KLUE's format

`tools/finetune_ner.py` makes one call to this module; `labelling` reads, aligns, decodes and scores.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kobert_tf2 import files
from kobert_tf2.bert import pretrained as weights
from kobert_tf2.bert.checkpoint_files import find_source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.models import BertForTokenClassification
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities, entity_files, entity_metrics, report
from kobert_tf2.labelling.entity_files import EntityFile, TaggedText
from kobert_tf2.labelling.labels import choose
from kobert_tf2.labelling.settings import TaggerSettings
from kobert_tf2.progress import progress
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.tasks import preflight as preflight_module
from kobert_tf2.tasks import start
from kobert_tf2.tasks.hold_out import hold_out
from kobert_tf2.tokenization import batches as batches_by_length
from kobert_tf2.tokenization import pretrained as tokenizers
from kobert_tf2.tokenization import unknown
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import loop, losses, unchanging
from kobert_tf2.training.dataset import dataset_of_batches
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.scores import write_eval_results
from kobert_tf2.training.settings import EpochTaskSettings

TASK = loop.Task(weights=losses.token_weights, sums=losses.token_sums)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(EpochTaskSettings):
    """The settings of a tagger run; the fields are the flags of `tools/finetune_ner.py`.

    Attributes:
      train_file, eval_file: entities in one of `entity_files.FORMATS`.
      predict_file: such a file, or plain text with one text per line.
      file_format: the format of all files; None: detected.
      eval_fraction: the fraction of the training file that is held out if there is no `eval_file`.
      max_seq_length, doc_stride: tokens of a window of a long text, and from one window to the next. None: the trained
        model's, or 128 and half a window.
      strip_josa: whether predicted entities are stripped of particles; None: as in the trained model, or if the
        tokenizer has no morphemes.
    """

    max_seq_length: int | None = None  # type: ignore[assignment]  # replaced before anything uses it
    eval_file: str | None = None
    file_format: str | None = None
    eval_fraction: float = 0.0
    do_eval: bool = False
    doc_stride: int | None = None
    predict_batch_size: int = 32
    strip_josa: bool | None = None

    @property
    def window_length(self) -> int:
        """`max_seq_length` or its default."""
        return self.max_seq_length or EpochTaskSettings.max_seq_length


def _are_predictions(path: str) -> bool:
    rows = files.read_json(path, list)
    return all(isinstance(row, dict) and row.keys() == {"id", "text", "entities"} for row in rows)


# For each file of this task, a function that recognises our file of that name.
_WRITTEN = {
    "alignment_report.json": lambda path: {"edges_inside_a_token", "lost"} <= files.read_json(path, dict).keys(),
    "predictions.json": _are_predictions,
    "predictions.tsv": None,
}


def finetune(settings: FinetuneSettings) -> dict:
    """Trains, evaluates, predicts.

    Returns a summary: `global_step`, the scores (`entity_f1`, `entity_macro_f1`, `character_macro_f1`, `types`),
    `labels`, and the paths of the files written. Raises `InputError` for errors that a user can fix.
    """
    _check_asked(settings)
    job = TrainingJob.start(settings)
    job.claim(job_inputs(settings), _WRITTEN, trains=settings.do_train)
    source = settings.init_checkpoint
    if not settings.do_train:
        source = start.model_to_predict_with(settings.output_dir, settings.init_checkpoint)
    settings = _as_kept(settings, source)
    tokenizer = tokenizers.from_flags(Tokenizer, settings.vocab_file, source, settings.tokenizer_settings)
    config = start.find_config(settings.bert_config_file, source, vocab_size=len(tokenizer.vocab))
    fit = {"vocab_size": len(tokenizer.vocab), "max_seq_length": settings.window_length}
    start.check_fits(config, settings.bert_config_file or source, **fit)
    train, evaluation, prediction = _read_all(settings)
    tagger = _Tagger(settings, tokenizer)
    summary: dict = {"output_dir": settings.output_dir}
    if settings.do_train:
        labels = _choose_labels(EntityFile("", "", train + evaluation).types(), settings.init_checkpoint, config)
        model = job.make(
            lambda: start.model_to_train(
                BertForTokenClassification, config, settings.init_checkpoint, settings.output_dir, labels=labels
            )
        )
        score = functools.partial(_dev_score, job, model, tagger, evaluation, labels) if evaluation else None
        summary |= _train(job, model, tagger, train, labels, score)
    else:
        model = job.make(lambda: BertForTokenClassification.from_pretrained(source or "", require_trained=True))
        labels = list(model.labels)
        entities.types_of(labels, f"{source}/config.json")
    summary["labels"] = labels
    if settings.do_eval:
        summary |= _evaluate(job, model, tagger, evaluation, labels, summary.get("global_step", 0))
    if settings.do_predict:
        predicted = tagger.predict(job, model, prediction, labels)
        if job.is_chief:
            summary |= _write_predictions(settings.output_dir, predicted)
    return summary | {"unknown_share": tagger.unknown_share}


def preflight(settings: FinetuneSettings, asked: preflight_module.PreflightSettings) -> dict:
    """Compiles the training program of these settings as for a TPU and reports its costs; needs no TPU and no data."""
    settings = _as_kept(settings, None)
    targets: dict[str, list[int]] = {"labels": [settings.window_length]}
    return preflight_module.of_fine_tuning(
        BertForTokenClassification, TASK, settings, asked, targets=targets, lengths_vary=True
    )


def _choose_labels(types: Sequence[str], begin: str | None, config: BertConfig) -> list[str]:
    """The labels of the initial model, in its order, if it is a tagger of all these types; otherwise only those of the
    types.
    """
    held = weights.held_labels(BertForTokenClassification, begin, config) if begin else None
    names = held.names if held is not None and entities.are_bio(held.names) else None
    return choose(entities.label_list(types), names)


def _as_kept(settings: FinetuneSettings, source: str | None) -> FinetuneSettings:
    """The settings, with values that were not given taken from the model if it is not trained further."""
    config_file = None if settings.do_train or source is None else find_source(source).config
    kept = TaggerSettings() if config_file is None else TaggerSettings.kept_in(config_file)
    same_length = settings.max_seq_length in (None, kept.max_seq_length)
    return dataclasses.replace(
        settings,
        max_seq_length=settings.max_seq_length or kept.max_seq_length or EpochTaskSettings.max_seq_length,
        # The stride depends on the length.
        doc_stride=settings.doc_stride or (kept.doc_stride if same_length else None),
        strip_josa=kept.strip_josa if settings.strip_josa is None else settings.strip_josa,
    )


def _check_asked(settings: FinetuneSettings) -> None:
    if not (settings.do_train or settings.do_eval or settings.do_predict):
        raise InputError("expected --do_train, --do_eval or --do_predict, but got none of them")
    if not 0 <= settings.eval_fraction < 1:
        raise InputError(f"--eval_fraction: expected at least 0 and below 1, but got {settings.eval_fraction}")
    needed = {
        "--do_train": ("--train_file", settings.do_train, settings.train_file),
        "--do_eval": (
            "--eval_file, or --train_file with --eval_fraction",
            settings.do_eval,
            settings.eval_file or (settings.eval_fraction and settings.train_file),
        ),
        "--do_predict": ("--predict_file", settings.do_predict, settings.predict_file),
    }
    for asked, (flag, is_asked, given) in needed.items():
        if is_asked and not given:
            raise InputError(f"{asked}: expected {flag}, but it is not given")


# ----------------------------------------------------------------------------------------------------------------------
# Files
# ----------------------------------------------------------------------------------------------------------------------


def _read_all(settings: FinetuneSettings) -> tuple[list[TaggedText], list[TaggedText], list[TaggedText]]:
    """Reads the texts that are needed. Without an evaluation file, a part of the training file is held out."""
    train: list[TaggedText] = []
    evaluation: list[TaggedText] = []
    holds_out = settings.do_eval and not settings.eval_file
    if settings.train_file and (settings.do_train or holds_out):
        train = _read(settings.train_file, settings.file_format)
    if holds_out:
        train, evaluation = hold_out(train, settings.eval_fraction, settings.seed)
    elif settings.do_eval and settings.eval_file:
        evaluation = _read(settings.eval_file, settings.file_format)
    prediction = read_texts(settings.predict_file, settings.file_format) if settings.predict_file else []
    return train, evaluation, prediction if settings.do_predict else []


def _read(path: str, file_format: str | None) -> list[TaggedText]:
    """The texts of a file. Eojeols tagged as a whole are stripped of particles, which are not part of an entity."""
    found = entity_files.read(path, file_format)
    for line in found.irregular[:10]:
        print(f"{path}, {line}", file=sys.stderr)
    if found.irregular:
        print(f"{path}: {len(found.irregular):,} tags were not well-formed BIO and were read as said", file=sys.stderr)
    if not found.by_eojeol:
        return found.texts
    texts, stripped = strip_josa(found.texts)
    print(f"{path}: {stripped:,} entities were tagged with their particles and are read without", file=sys.stderr)
    return texts


def read_texts(path: str, file_format: str | None = None) -> list[TaggedText]:
    """Texts to predict on: those of a file of entities, otherwise every non-blank line."""
    if file_format or entity_files.recognise(path):
        return entity_files.read(path, file_format).texts
    lines = enumerate(files.read_lines(path), start=1)
    texts = [TaggedText(str(number), line, ()) for number, line in lines if line.strip()]
    if not texts:
        raise InputError(f"{path}: expected a text a line, but there is none")
    return texts


def strip_josa(texts: Sequence[TaggedText]) -> tuple[list[TaggedText], int]:
    """The texts with particles stripped from their entities, and how many entities had any."""
    stripper, stripped, without = JosaStripper(), 0, []
    for text in texts:
        spans = [stripper(text.text, entity.start, entity.end) for entity in text.entities]
        stripped += sum(end < entity.end for entity, (_, end) in zip(text.entities, spans, strict=True))
        bare = (entity._replace(start=a, end=b) for entity, (a, b) in zip(text.entities, spans, strict=True))
        without.append(text._replace(entities=tuple(bare)))
    return without, stripped


# ----------------------------------------------------------------------------------------------------------------------
# Training and predicting
# ----------------------------------------------------------------------------------------------------------------------


def _dev_score(
    job: TrainingJob, model: Any, tagger: "_Tagger", texts: Sequence[TaggedText], labels: list[str]
) -> float:
    """For early stopping: the entity F1."""
    return entity_metrics.score(texts, tagger.predict(job, model, texts, labels), labels)["entity_f1"]


def _train(
    job: TrainingJob,
    model: Any,
    tagger: "_Tagger",
    texts: Sequence[TaggedText],
    labels: list[str],
    score: Callable[[], float] | None,
) -> dict:
    settings, seed = tagger.settings, tagger.settings.seed
    windows = tagger.training_windows(job, texts, labels)
    lengths = windows.input_mask.sum(axis=1)
    widths = batches_by_length.bucket_widths(lengths, longest=settings.max_seq_length)
    batches, num_steps = batches_by_length.batches_of_epochs(
        lengths, widths, settings.train_batch_size, epochs=settings.num_train_epochs, seed=seed
    )
    optimizer = job.optimizer(**settings.schedule(num_steps))
    print(f"{len(texts):,} texts, {len(labels)} labels, {num_steps:,} steps", file=sys.stderr)
    trained = job.train(
        model,
        optimizer,
        job.weighted(dataset_of_batches(windows.features(), batches), labels, windows.features()["labels"]),
        dataclasses.replace(TASK, score=score),
        num_steps=num_steps,
        must_not_change={
            **unchanging.file_read("train_file", settings.train_file or ""),
            **unchanging.tokenizer_used(tagger.tokenizer),
            "max_seq_length": settings.window_length,
            "labels": labels,
            "windows": len(windows),
            "num_steps": num_steps,
        },
        save=lambda folder: model.save_pretrained(folder, tagger.tokenizer, task_specific_params=tagger.to_keep()),
    )
    return {"train_texts": len(texts), "train_windows": len(windows), **trained}


class _Tagger:
    """Converts texts to windows, and a model's logits to texts with entities."""

    def __init__(self, settings: FinetuneSettings, tokenizer: Tokenizer):
        self.settings, self.tokenizer = settings, tokenizer
        strip = settings.strip_josa
        self.unknown_share = 0.0  # of the texts encoded last
        self._strip = tokenizer.settings()["pre_tokenizer"] != "mecab" if strip is None else strip

    def _encode(self, texts: Sequence[TaggedText]) -> list:
        strings = [text.text for text in texts]
        encodings = self.tokenizer.encode_batch(strings, num_workers=self.settings.num_workers)
        self.unknown_share = unknown.report_encodings("texts", encodings, self.tokenizer.unk_id)
        return encodings

    def _windows(self, encodings: list, labels: Sequence[np.ndarray] | None = None) -> entities.TokenWindows:
        return entities.make_windows(
            encodings,
            self.tokenizer,
            max_seq_length=self.settings.window_length,
            doc_stride=self.settings.doc_stride,
            labels=labels,
        )

    def to_keep(self) -> dict[str, dict]:
        """The settings saved with the weights."""
        names = ("max_seq_length", "doc_stride", "strip_josa")
        return TaggerSettings(**{name: getattr(self.settings, name) for name in names}).to_config()

    def training_windows(
        self, job: TrainingJob, texts: Sequence[TaggedText], labels: list[str]
    ) -> entities.TokenWindows:
        """Windows with labels. Entities that the tokens cannot represent are counted, and listed in a report."""
        encodings = self._encode(texts)
        alignment = entities.align(texts, encodings, labels)
        report = {
            "entities": alignment.entities,
            "edges_inside_a_token": alignment.edges_inside_a_token,
            "lost": alignment.lost,
        }
        if job.is_chief:
            files.write_json(f"{self.settings.output_dir}/alignment_report.json", report)
        inside = len(alignment.edges_inside_a_token)
        print(
            f"{alignment.entities:,} entities, {inside:,} with an edge inside a token "
            f"({inside / max(alignment.entities, 1):.2%}), {len(alignment.lost):,} lost; see alignment_report.json",
            file=sys.stderr,
        )
        return self._windows(encodings, alignment.labels)

    def predict(self, job: TrainingJob, model: Any, texts: Sequence[TaggedText], labels: list[str]) -> list[TaggedText]:
        """The texts with the entities predicted by the model."""
        encodings = self._encode(texts)
        windows = self._windows(encodings)
        logits = self._logits(job, model, windows)
        found = [
            text._replace(entities=entities.decode(one, encoding, labels))
            for text, encoding, one in zip(
                texts, encodings, entities.token_logits(windows, logits, encodings), strict=True
            )
        ]
        return strip_josa(found)[0] if self._strip else found

    def _logits(self, job: TrainingJob, model: Any, windows: entities.TokenWindows) -> np.ndarray:
        """float32 [W, S, L], computed in batches of similar length."""
        lengths = windows.input_mask.sum(axis=1)
        widths = batches_by_length.bucket_widths(lengths, longest=self.settings.max_seq_length)
        batches = batches_by_length.prediction_batches(lengths, widths, self.settings.predict_batch_size)
        features = windows.features()
        inputs = ({name: value[batch.rows, : batch.width] for name, value in features.items()} for batch in batches)
        outputs = loop.predict_batches(
            model,
            progress(inputs, "prediction", total=len(batches), unit="batches"),
            strategy=job.strategy,
            jit_compile=self.settings.jit_compile,
        )
        logits = np.zeros((*windows.input_ids.shape, model.num_labels), np.float32)
        for batch, output in zip(batches, outputs, strict=True):
            logits[batch.rows, : batch.width] = output["logits"]
        return logits


# ----------------------------------------------------------------------------------------------------------------------
# What comes of it
# ----------------------------------------------------------------------------------------------------------------------


def _evaluate(
    job: TrainingJob, model: Any, tagger: _Tagger, texts: Sequence[TaggedText], labels: list[str], global_step: int
) -> dict:
    entities.align(texts, tagger._encode(texts), labels)  # a type unknown to the model raises an error here
    predicted = tagger.predict(job, model, texts, labels)
    scores = entity_metrics.score(texts, predicted, labels)
    if job.is_chief:
        flat = {name: value for name, value in scores.items() if name != "types"}
        each = {f"{kind}_{name}": value for kind, of in scores["types"].items() for name, value in of.items()}
        write_eval_results(tagger.settings.output_dir, {**flat, **each, "global_step": global_step})
        job.write_report(report.entities(scores, texts, predicted))
    return {"eval_texts": len(texts), **scores}


def _write_predictions(output_dir: str, texts: Sequence[TaggedText]) -> dict:
    rows = [
        {
            "id": text.id,
            "text": text.text,
            "entities": [
                {
                    "text": text.text[entity.start : entity.end],
                    "type": entity.type,
                    "start": entity.start,
                    "end": entity.end,
                    "score": round(entity.score, 6),
                }
                for entity in text.entities
            ],
        }
        for text in texts
    ]
    files.write_json(f"{output_dir}/predictions.json", rows)
    entity_files.write_klue(f"{output_dir}/predictions.tsv", texts)
    return {"predictions": f"{output_dir}/predictions.json", "entities": sum(len(text.entities) for text in texts)}
