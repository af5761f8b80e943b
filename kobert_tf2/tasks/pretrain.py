"""Masked LM and next-sentence pre-training, from TFRecords to a model directory.

    output_dir/run_config.json    the resolved settings
               checkpoints/       what a run resumes from
               train_log.jsonl    and events/ for TensorBoard
               model/             a model directory
               eval_results.txt   under the keys of the original run_pretraining

`tools/pretrain.py` makes one call to this module.
"""

import contextlib
import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import record_check, tfrecord
from kobert_tf2.tasks import preflight as preflight_module
from kobert_tf2.tasks import raw_text, start
from kobert_tf2.tasks.preflight import PlannedRun
from kobert_tf2.tokenization import pretrained
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import checkpoints, loop, losses, report, unchanging
from kobert_tf2.training.job import TrainingJob, job_inputs
from kobert_tf2.training.scores import write_eval_results
from kobert_tf2.training.settings import TaskSettings

TASK = loop.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums)
_SHUFFLE_BUFFER = 10_000
# The loss of an untrained masked LM is ln(vocab_size). If the loss is less than this amount below it after the warm-up,
# something is broken.
_LEARNT_SOMETHING = 0.5
# The unigram baseline is the entropy of the piece frequencies: the loss of a masked LM that knows only how frequent
# each piece is. A model less than this amount below it long after the warm-up is stuck there: the hidden states of all
# positions have become alike.
_LEARNT_MORE_THAN_FREQUENCIES = 0.1
_BATCHES_COUNTED, _ROWS_COUNTED = 10, 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(TaskSettings, raw_text.RawTextSettings):
    """The settings of a pre-training run; the fields are the flags of `tools/pretrain.py`.

    Attributes:
      input_file: TFRecords, as comma-separated globs. If `vocab_file` is None, the tokenizer is found through them too.
        Or raw text, of which records are made in `output_dir/records` first, see `raw_text`.
      eval_file: TFRecords to evaluate on; None: those of `input_file`.
      max_seq_length, max_predictions_per_seq: None: those of the records.
      eval_batch_size: rows in a global batch, over all replicas.
      max_eval_steps: maximum number of batches to evaluate.
    """

    may_grow = "num_train_steps"

    input_file: str | None = None
    eval_file: str | None = None
    max_seq_length: int | None = None
    max_predictions_per_seq: int | None = None
    do_eval: bool = False
    eval_batch_size: int = 8
    max_eval_steps: int = 100
    num_train_steps: int = 100_000
    num_warmup_steps: int = 10_000

    @property
    def schedule(self) -> dict:
        """The learning rate schedule, as arguments of `TrainingJob.optimizer`."""
        return {"num_train_steps": self.num_train_steps, "num_warmup_steps": self.num_warmup_steps}


def pretrain(settings: PretrainSettings) -> dict:
    """Trains, evaluates or both.

    Returns a summary: `global_step`, `resumed_from`, the metrics, `model_dir`. Raises `InputError` for errors that a
    user can fix.
    """
    _check_asked(settings)
    output_dir, init_checkpoint = settings.output_dir, settings.init_checkpoint
    job = TrainingJob.start(settings, input_file=settings.input_file)
    job.claim(job_inputs(settings), raw_text.WRITTEN, trains=settings.do_train)
    source = settings.bert_config_file or init_checkpoint
    lengths = settings.max_seq_length, settings.max_predictions_per_seq
    raw = _tokenizer_of_raw_text(settings) if _is_raw_text(settings, job) else None
    if raw is None:
        data = _Records.find(settings.input_file or "", *lengths)
        tokenizer, features = _find_tokenizer(settings, data.sidecar), data.features
    else:
        tokenizer, features = raw, _features(*lengths, {})
    vocab_size = len(tokenizer.vocab) if tokenizer is not None else data.sidecar.get("vocab_size")
    config = start.find_config(settings.bert_config_file, init_checkpoint, vocab_size=vocab_size)
    _check_config(config, source, features, vocab_size)
    if raw is not None:  # Made only for a configuration that they suit.
        data = _Records.find(_make_records(settings, raw), None, None)
    data = data._replace(limits=record_check.Limits(config.vocab_size, config.type_vocab_size))
    if config.type_vocab_size < 2 and _has_pairs(data):
        config.check_takes_pairs(source, "the records hold pairs of sentences")
    model = job.make(lambda: _make_model(config, settings))
    optimizer = job.optimizer(**settings.schedule)
    if job.is_chief:
        if not settings.do_train:
            job.report_settings(model, _resolved(job, data, settings))
        if tokenizer is None:
            print("warning: model/ will have no tokenizer; give its folder as --vocab_file", file=sys.stderr)

    summary: dict[str, Any] = {"output_dir": output_dir}
    if settings.do_train:
        entropy = _entropy_of_frequencies(data, config.vocab_size) if job.is_chief else math.inf
        health = _Health(config.vocab_size, entropy, settings.num_warmup_steps, fresh=not init_checkpoint)
        summary |= _train(job, model, optimizer, data, settings, tokenizer, health)
    elif not init_checkpoint or checkpoints.steps_in(f"{output_dir}/checkpoints"):
        summary["global_step"] = _load_newest(model, output_dir)
    if settings.do_eval:
        held_out = data.of(settings.eval_file) if settings.eval_file else data
        metrics = _evaluate(job, model, held_out, settings)
        results = {"global_step": summary.get("global_step", 0), **metrics}
        if job.is_chief:
            write_eval_results(output_dir, results)
            job.write_report([report.scores(results)])
        summary |= results
    return summary


def _check_asked(settings: PretrainSettings) -> None:
    if not settings.do_train and not settings.do_eval:
        raise InputError("expected --do_train, --do_eval or both, but got neither")
    for name in ("input_file", "output_dir"):
        if not getattr(settings, name):
            raise InputError(f"expected --{name}, but it was not given")


def _is_raw_text(settings: PretrainSettings, job: TrainingJob) -> bool:
    """Whether `input_file` is raw text; raises `InputError` if its kind does not go with the other settings."""
    input_file = settings.input_file or ""
    if settings.eval_file and raw_text.is_raw_text(record_files(settings.eval_file)):
        raise InputError(f"{settings.eval_file}: expected TFRecords as --eval_file, but this is raw text")
    if not raw_text.is_raw_text(record_files(input_file)):
        settings.refuse_without_raw_text(input_file)
        return False
    if isinstance(job.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise InputError(
            f"{input_file}: expected TFRecords for a run on several machines, but this is raw text; make them with "
            "create_pretraining_data.py"
        )
    return True


def _tokenizer_of_raw_text(settings: PretrainSettings) -> Tokenizer:
    given = settings.tokenizer_settings
    beside = (settings.bert_config_file,)
    return pretrained.from_flags(Tokenizer, settings.vocab_file, settings.init_checkpoint, given, beside=beside)


def _make_records(settings: PretrainSettings, tokenizer: Tokenizer) -> str:
    return raw_text.make_records(
        settings.input_file or "",
        settings.output_dir,
        tokenizer,
        settings,
        max_seq_length=settings.max_seq_length,
        max_predictions_per_seq=settings.max_predictions_per_seq,
        is_begun=bool(checkpoints.steps_in(f"{settings.output_dir}/checkpoints")),
    )


def _train(
    job: TrainingJob,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    data: "_Records",
    settings: PretrainSettings,
    tokenizer: Tokenizer | None,
    health: "_Health",
) -> dict:
    must_not_change = {
        "max_seq_length": data.features["input_ids"].length,
        # Not that of the feature: a packed row has room for more predictions than one instance.
        "max_predictions_per_seq": _agreed(
            "max_predictions_per_seq", settings.max_predictions_per_seq, data.sidecar, 20
        ),
        **unchanging.shards_read(data.shards, data.sidecar),
    }
    with _naming_the_shard(data):
        return job.train(
            model,
            optimizer,
            data.training_batches(settings.train_batch_size, settings.seed),
            TASK,
            num_steps=settings.num_train_steps,
            must_not_change=must_not_change,
            save=lambda folder: model.save_pretrained(folder, tokenizer),
            on_record=health,
            resolved=_resolved(job, data, settings),
        )


def _evaluate(job: TrainingJob, model: keras.Model, data: "_Records", settings: PretrainSettings) -> dict[str, float]:
    with _naming_the_shard(data):
        return loop.evaluate(
            model,
            tfrecord.dataset(data.shards, data.features, batch_size=settings.eval_batch_size, limits=data.limits),
            TASK,
            strategy=job.strategy,
            max_steps=settings.max_eval_steps,
            jit_compile=settings.jit_compile,
        )


def training_batches(input_file: str, batch_size: int, seed: int = 0) -> tf.data.Dataset:
    """The endless training batches, with the lengths of the records."""
    return _Records.find(input_file, None, None).training_batches(batch_size, seed)


def preflight(settings: PretrainSettings, asked: preflight_module.PreflightSettings) -> dict:
    """Compiles the training program of these settings as for a TPU and reports its costs; needs no TPU and no data."""
    loop.set_precision(settings.precision)
    sidecar = (tfrecord.read_sidecar(record_files(settings.input_file)) if settings.input_file else None) or {}
    features = _features(settings.max_seq_length, settings.max_predictions_per_seq, sidecar)
    vocab_size = sidecar.get("vocab_size", preflight_module.USUAL_VOCABULARY)
    config = start.find_config(settings.bert_config_file, settings.init_checkpoint, vocab_size=vocab_size)
    _check_config(config, settings.bert_config_file or settings.init_checkpoint, features, sidecar.get("vocab_size"))
    shapes = {name: ([x.length], x.dtype) for name, x in features.items()}
    if settings.do_eval and not settings.do_train:
        inputs = {name: shapes[name] for name in TASK.inputs if name in shapes}
        model, rows = models.BertForPreTraining(config), settings.eval_batch_size
        return preflight_module.preflight(PlannedRun.to_ask(model, inputs, rows, "eval_batch_size"), asked)
    run = PlannedRun.to_train(settings, lambda: models.BertForPreTraining(config), TASK, shapes, settings.schedule)
    return preflight_module.preflight(run, asked)


# ----------------------------------------------------------------------------------------------------------------------
# Records, tokenizer and configuration, and whether they fit each other
# ----------------------------------------------------------------------------------------------------------------------


class _Records(NamedTuple):
    """TFRecord files, their sidecar ({} if there is none) and the features that both agree on."""

    patterns: str
    shards: list[str]
    sidecar: dict
    features: dict
    limits: record_check.Limits | None = None

    @classmethod
    def find(cls, patterns: str, max_seq_length: int | None, max_predictions_per_seq: int | None) -> "_Records":
        shards = record_files(patterns)
        sidecar = tfrecord.read_sidecar(shards) or {}
        return cls(patterns, shards, sidecar, _features(max_seq_length, max_predictions_per_seq, sidecar))

    def training_batches(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """Endless batches, reshuffled in each epoch in an order determined by the seed alone."""
        return tfrecord.dataset(
            self.shards,
            self.features,
            batch_size=batch_size,
            shuffle_buffer=_SHUFFLE_BUFFER,
            seed=seed,
            repeat=True,
            limits=self.limits,
        )

    def of(self, patterns: str) -> "_Records":
        """Other files with the same features."""
        return self._replace(patterns=patterns, shards=record_files(patterns))


def _features(max_seq_length: int | None, max_predictions_per_seq: int | None, sidecar: dict) -> dict:
    return tfrecord.pretraining_features(
        max_seq_length=_agreed("max_seq_length", max_seq_length, sidecar, 128),
        max_predictions_per_seq=_agreed("max_predictions_per_seq", max_predictions_per_seq, sidecar, 20),
        packed=sidecar.get("packed", False),
    )


def record_files(patterns: str) -> list[str]:
    """The TFRecord files, without others that a glob matches: `corpus.tfrecord*` also matches the sidecar, `*` the HTML
    page.
    """
    paths = [path for path in files.match(patterns) if not path.endswith((".json", ".html"))]
    if not paths:
        raise InputError(f"{patterns}: expected TFRecord files, but only side-cars (.json) match")
    return paths


def _agreed(name: str, given: int | None, sidecar: dict, default: int) -> int:
    """The length on which flag and sidecar agree; if the flag is not given, that of the data."""
    if given is not None and name in sidecar and given != sidecar[name]:
        raise InputError(
            f"--{name}={given}, but the records were made with {name}={sidecar[name]} (their side-car says)"
        )
    return given if given is not None else sidecar.get(name, default)


def _find_tokenizer(settings: PretrainSettings, sidecar: dict) -> Tokenizer | None:
    """The tokenizer whose files go into the model directory: the one given, or one found next to the given files.

    Its vocabulary must be the one that the records were made with. Returns None if there is none: the model directory
    then has no tokenizer, which is reported on stderr.
    """
    tokenizer = pretrained.from_flags(
        Tokenizer,
        settings.vocab_file,
        settings.init_checkpoint,
        settings.tokenizer_settings,
        beside=(settings.bert_config_file, settings.input_file),
        made_with=sidecar.get("made_with", {}).get("tokenizer"),
        required=False,
    )
    if tokenizer is not None:
        _check_vocabulary(tokenizer, settings.vocab_file or "the tokenizer that was found", sidecar)
    return tokenizer


def _check_vocabulary(tokenizer: Tokenizer, path: str, sidecar: dict) -> None:
    lines = "".join(f"{piece}\n" for piece in sorted(tokenizer.vocab, key=tokenizer.vocab.__getitem__))
    found = hashlib.sha256(lines.encode()).hexdigest()
    if sidecar.get("vocab_sha256", found) != found:
        raise InputError(
            f"{path}: its vocabulary ({len(tokenizer.vocab)} pieces) is not the one that the records were made with "
            f"({sidecar.get('vocab_size')} pieces); give that one as --vocab_file"
        )


def _check_config(config: BertConfig, path: str | None, features: dict, vocab_size: int | None) -> None:
    if vocab_size is not None and vocab_size != config.vocab_size:
        raise InputError(
            f"{path}: vocab_size is {config.vocab_size}, but the vocabulary of the records has {vocab_size} entries"
        )
    length = features["input_ids"].length
    if length > config.max_position_embeddings:
        raise InputError(
            f"{path}: max_position_embeddings is {config.max_position_embeddings}, but the records have "
            f"max_seq_length={length}"
        )


def _has_pairs(data: _Records) -> bool:
    """Whether the first records have a second segment; a corrupt shard is reported by training."""
    first = tfrecord.dataset(data.shards[:1], data.features, batch_size=_ROWS_COUNTED).take(_BATCHES_COUNTED)
    with contextlib.suppress(tf.errors.OpError):
        return any(batch["segment_ids"].numpy().any() for batch in first)
    return False


def _make_model(config: BertConfig, settings: PretrainSettings) -> models.BertForPreTraining:
    """Creates the model. For evaluation only, a checkpoint of the run or `--init_checkpoint` must contain the whole
    model.
    """
    is_here = settings.do_train or checkpoints.steps_in(f"{settings.output_dir}/checkpoints")
    if settings.init_checkpoint and not is_here:
        return models.BertForPreTraining.from_pretrained(settings.init_checkpoint, config=config, require_trained=True)
    return start.model_to_train(models.BertForPreTraining, config, settings.init_checkpoint, settings.output_dir)


def _load_newest(model: keras.Model, output_dir: str) -> int:
    newest = checkpoints.Checkpoints(f"{output_dir}/checkpoints", model=model)
    manifest = newest.newest_whole()
    if manifest is None:
        raise InputError(f"{output_dir}/checkpoints: expected a checkpoint to evaluate, but there is none")
    newest.restore_model(manifest)
    return manifest["step"]


@contextlib.contextmanager
def _naming_the_shard(data: _Records) -> Iterator[None]:
    """tf.data's errors do not name the file. On an error, reads all files again to find the corrupt record."""
    try:
        yield
    except InputError as error:
        if isinstance(error.__cause__, tf.errors.OpError) and not isinstance(
            error.__cause__, tf.errors.ResourceExhaustedError
        ):
            _find_broken(data, error)
        raise


def _find_broken(data: _Records, error: InputError) -> None:
    for path in data.shards:
        if not files.exists(path):
            raise InputError(f"{error}; {path} is no longer there") from error
    try:
        tfrecord.check(data.shards, data.features, limits=data.limits)
    except InputError as broken:
        said = str(error)
        if record_check.is_refusal(said):  # TensorFlow's message would not help a user.
            said = said.partition(": ")[0]
        raise InputError(f"{said}; {broken}") from error


# ----------------------------------------------------------------------------------------------------------------------
# What is reported
# ----------------------------------------------------------------------------------------------------------------------


def _resolved(job: TrainingJob, data: _Records, settings: PretrainSettings) -> dict:
    """The entries of run_config.json in addition to the settings. Batch sizes are global, over all replicas."""
    batches = {}
    if settings.do_train:
        batches["train_batch_size"] = settings.train_batch_size
        batches["train_batch_size_per_replica"] = settings.train_batch_size // job.strategy.num_replicas_in_sync
    if settings.do_eval:
        batches |= {"eval_batch_size": settings.eval_batch_size, "max_eval_steps": settings.max_eval_steps}
    return {
        "input_file": data.patterns,
        "data": {"files": len(data.shards), **{name: feature.length for name, feature in data.features.items()}},
        **batches,
        "learning_rate": settings.learning_rate,
        **settings.schedule,
        "init_checkpoint": settings.init_checkpoint,
    }


def _entropy_of_frequencies(data: _Records, vocab_size: int) -> float:
    """The unigram baseline of the masked LM loss in nats, estimated from the first records."""
    counts = np.zeros(vocab_size)
    first = tfrecord.dataset(data.shards[:1], data.features, batch_size=_ROWS_COUNTED, limits=data.limits)
    rows = 0
    with contextlib.suppress(tf.errors.OpError):  # A corrupt shard is reported by training.
        for batch in first.take(_BATCHES_COUNTED):
            rows += len(batch["input_ids"])
            ids, weights = (batch[name].numpy().ravel() for name in ("masked_lm_ids", "masked_lm_weights"))
            counts += np.bincount(ids, weights, minlength=vocab_size)[:vocab_size]
    if rows and not counts.any():
        raise InputError(
            f"{data.shards[0]}: expected records with masked_lm_weights above 0, but the first {rows} have none: a "
            "model learns nothing from them"
        )
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) if len(shares) else math.inf


class _Health:
    """Called with each log record. Reports the first loss together with the loss of a uniform guess and the unigram
    baseline, and warns once for each if the loss stays there.
    """

    def __init__(self, vocab_size: int, entropy: float, num_warmup_steps: int, *, fresh: bool):
        self._chance, self._entropy, self._warmup = math.log(vocab_size), entropy, max(num_warmup_steps, 1)
        self._fresh = fresh
        self._warned: set[str] = set()

    def __call__(self, step: int, record: dict) -> None:
        loss = record["masked_lm_loss"]
        if step == 1 and self._fresh:
            print(
                f"masked LM loss at the start: {loss:.2f}; ln(vocab_size) = {self._chance:.2f}; unigram baseline: "
                f"{self._entropy:.2f}",
                file=sys.stderr,
            )
        if step > self._warmup and loss > self._chance - _LEARNT_SOMETHING:
            self._warn(
                "nothing",
                f"step {step} is past the warm-up, but the masked LM loss is {loss:.2f}, still near ln(vocab_size) = "
                f"{self._chance:.2f}: the model learns nothing. Look at --learning_rate, and at whether the records "
                "were made with this vocabulary",
            )
        elif step > 2 * self._warmup + 200 and loss > self._entropy - _LEARNT_MORE_THAN_FREQUENCIES:
            self._warn(
                "frequencies",
                f"step {step}: the masked LM loss is {loss:.2f}, no better than the unigram baseline of "
                f"{self._entropy:.2f}: the model knows how frequent each piece is and does not look at the text. A "
                "--learning_rate that is too high keeps it there; start again with a quarter of it",
            )

    def _warn(self, kind: str, sentence: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            print(f"warning: {sentence}", file=sys.stderr)
