"""Fine-tuning a reader and predicting with it, from files of questions to files of answers.

    output_dir/checkpoints/            what a run resumes from
               train_log.jsonl         and events/ for TensorBoard
               features/               windows, kept under a hash of all that decides them
               alignment_report.json   every answer that was repaired or left out, with its id
               model/                  a model directory
               predictions.json        {id: answer}; predictions_raw.json and predictions_stripped.json beside it
               nbest_predictions.json  the best answers of each question, raw beside stripped
               null_odds.json          SQuAD 2.0: how much "no answer" is preferred to the best answer
               eval_results.txt        where the file of questions has answers

This is the one call that `tools/finetune_mrc.py` makes.
"""

import collections
import os
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.progress import progress
from kobert_tf2.reading import answers, metrics, squad_files, training_windows, window_cache
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.answers import Span
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import Windows
from kobert_tf2.tasks.pretrain import read_config, write_eval_results
from kobert_tf2.tokenization.tokenizer import Tokenizer
from kobert_tf2.training import loop, losses
from kobert_tf2.training.checkpoints import steps_in
from kobert_tf2.training.job import TrainingJob

TASK = loop.Task(weights=losses.span_weights, sums=losses.span_sums)


def finetune(
    *,
    output_dir: str,
    init_checkpoint: str | None = None,
    bert_config_file: str | None = None,
    vocab_file: str | None = None,
    tokenizer_settings: dict | None = None,
    train_file: str | None = None,
    predict_file: str | None = None,
    do_train: bool = False,
    do_predict: bool = False,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
    train_batch_size: int = 32,
    predict_batch_size: int = 8,
    learning_rate: float = 5e-5,
    num_train_epochs: float = 3.0,
    warmup_proportion: float = 0.1,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    version_2_with_negative: bool = False,
    null_score_diff_threshold: float = 0.0,
    unanswerable_windows: str = "keep",
    strip_josa: bool | None = None,
    metric: str | None = None,
    num_workers: int = 1,
    running: dict,
) -> dict:
    """Trains, predicts or both; the arguments are the flags of `tools/finetune_mrc.py`.

    Returns a summary: `global_step`, `padding`, `predictions`, and, where gold answers are known, `exact_match`, `f1`
    (of predictions.json), `raw` and `stripped`. Raises `InputError` for what a user can mend.
    """
    _check_asked(do_train, train_file, do_predict, predict_file)
    reading_windows.check_lengths(
        max_seq_length=max_seq_length, doc_stride=doc_stride, max_query_length=max_query_length
    )
    job = TrainingJob.start(output_dir, running, init_checkpoint=init_checkpoint)
    tokenizer = load_tokenizer(vocab_file, init_checkpoint, tokenizer_settings or {})
    config = _config(bert_config_file, init_checkpoint, tokenizer, max_seq_length)
    windows = _WindowMaker(
        tokenizer,
        f"{output_dir}/features",
        max_seq_length=max_seq_length,
        doc_stride=doc_stride,
        max_query_length=max_query_length,
        num_workers=num_workers,
    )

    summary, model = {"output_dir": output_dir}, None
    if do_train:
        data = _TrainingData(
            train_file,
            windows,
            with_negative=version_2_with_negative,
            unanswerable_windows=unanswerable_windows,
            batch_size=train_batch_size,
            epochs=num_train_epochs,
            seed=running["seed"],
        )
        model = job.make(lambda: _model_to_train(config, init_checkpoint, output_dir))
        summary |= _train(job, model, data, tokenizer, learning_rate, warmup_proportion)
    if do_predict:
        model = model or job.make(lambda: _model_to_predict(config, init_checkpoint, output_dir))
        summary |= _predict(
            job,
            model,
            windows,
            predict_file,
            predict_batch_size,
            n_best_size=n_best_size,
            max_answer_length=max_answer_length,
            null_threshold=null_score_diff_threshold if version_2_with_negative else None,
            strip=tokenizer.settings()["pre_tokenizer"] == "none" if strip_josa is None else strip_josa,
            metric=metric or ("squad2" if version_2_with_negative else "korquad1"),
        )
    return summary


def _train(
    job: TrainingJob, model, data: "_TrainingData", tokenizer, learning_rate: float, warmup_proportion: float
) -> dict:
    if job.is_chief:
        files.write_json(f"{job.output_dir}/alignment_report.json", data.report)
    _say(data.report["counts"])
    optimizer = job.optimizer(
        learning_rate=learning_rate,
        num_train_steps=data.num_steps,
        num_warmup_steps=int(data.num_steps * warmup_proportion),
    )
    trained = job.train(
        model,
        optimizer,
        data.dataset(),
        TASK,
        num_steps=data.num_steps,
        settings=data.settings,
        save=lambda folder: model.save_pretrained(folder, tokenizer),
    )
    return {"train_padding": round(data.padding, 4), "train_windows": len(data.windows), **trained}


def _predict(job: TrainingJob, model, windows: "_WindowMaker", path: str, batch_size: int, **choice) -> dict:
    """Answers the questions of a file; `choice` goes to `write_predictions`."""
    questions = squad_files.read_squad(path)
    found = windows(path, questions)
    start, end, padding = predict_logits(
        model, found, batch_size=batch_size, strategy=job.strategy, jit_compile=job.running["jit_compile"]
    )
    written = write_predictions(job.output_dir, questions, found, start, end, **choice) if job.is_chief else {}
    return {"predict_padding": padding, **written}


def _check_asked(do_train, train_file, do_predict, predict_file) -> None:
    if not do_train and not do_predict:
        raise InputError("expected --do_train, --do_predict or both, but got neither")
    if do_train and not train_file:
        raise InputError("expected --train_file with --do_train, but it is not given")
    if do_predict and not predict_file:
        raise InputError("expected --predict_file with --do_predict, but it is not given")


def _say(counts: dict) -> None:
    for name, value in counts.items():
        print(f"  {name}: {value}", file=sys.stderr)


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizer, configuration, model
# ---------------------------------------------------------------------------------------------------------------------


def load_tokenizer(vocab_file: str | None, init_checkpoint: str | None, settings: dict) -> Tokenizer:
    """The tokenizer of a folder or of a vocab.txt; without either, the one beside the weights to start from.

    A vocab.txt with no tokenizer_config.json beside it takes `settings`, the tokenizer flags of the command line.
    """
    path = vocab_file or init_checkpoint
    if not path:
        raise InputError("expected --vocab_file, or --init_checkpoint with a vocabulary beside it, but got neither")
    folder = path if files.is_folder(path) else os.path.dirname(path) or "."
    if files.exists(f"{folder}/tokenizer_config.json"):
        return Tokenizer.from_pretrained(folder)
    vocab = vocab_file if vocab_file and not files.is_folder(vocab_file) else f"{folder}/vocab.txt"
    if not files.exists(vocab):
        raise InputError(f"{path}: expected a vocab.txt there, or --vocab_file, but found neither")
    return Tokenizer(vocab, **settings)


def _config(bert_config_file, init_checkpoint, tokenizer, max_seq_length: int):
    config = read_config(bert_config_file, init_checkpoint, vocab_size=len(tokenizer.vocab))
    source = bert_config_file or init_checkpoint
    if config.vocab_size < len(tokenizer.vocab):
        raise InputError(
            f"{source}: vocab_size is {config.vocab_size}, but the vocabulary has {len(tokenizer.vocab)} entries"
        )
    if config.max_position_embeddings < max_seq_length:
        raise InputError(
            f"{source}: max_position_embeddings is {config.max_position_embeddings}, but --max_seq_length is "
            f"{max_seq_length}"
        )
    return config


def _model_to_train(config, init_checkpoint: str | None, output_dir: str):
    if not init_checkpoint or steps_in(f"{output_dir}/checkpoints"):
        return models.BertForQuestionAnswering(config)
    print(f"starting from the weights of {init_checkpoint}", file=sys.stderr)
    return models.BertForQuestionAnswering.from_pretrained(init_checkpoint, config=config)


def _model_to_predict(config, init_checkpoint: str | None, output_dir: str):
    trained = f"{output_dir}/model"
    path = trained if files.exists(f"{trained}/config.json") else init_checkpoint
    if not path:
        raise InputError(f"{trained}: expected a trained model there, or --init_checkpoint, but there is neither")
    print(f"predicting with {path}", file=sys.stderr)
    return models.BertForQuestionAnswering.from_pretrained(path)


# ---------------------------------------------------------------------------------------------------------------------
# Features and batches
# ---------------------------------------------------------------------------------------------------------------------


class _WindowMaker:
    """`windows.make_windows` with the run's tokenizer, lengths and folder of kept windows."""

    def __init__(self, tokenizer, cache_dir: str, **settings):
        self._tokenizer, self._cache_dir, self._settings = tokenizer, cache_dir, settings

    def __call__(self, path: str, questions: Sequence[Question], *, with_answers: bool = False) -> Windows:
        return window_cache.windows_of_file(
            path,
            questions,
            self._tokenizer,
            cache_dir=self._cache_dir,
            with_answers=with_answers,
            progress=progress,
            **self._settings,
        )


class _TrainingData:
    """The windows to train on, and the order of the batches for all epochs."""

    def __init__(self, path, make, *, with_negative, unanswerable_windows, batch_size, epochs, seed):
        questions, repairs = squad_files.read_squad_and_repairs(path)
        kept, left_out = training_windows.trainable(questions, with_negative=with_negative)
        if not kept:
            raise InputError(f"{path}: expected questions to train on, but none has an answer in its context")
        windows = make(path, kept, with_answers=True)
        left_out += training_windows.without_answer(windows, kept)
        self.windows = training_windows.choose_windows(windows, kept, unanswerable_windows, seed)
        self.report = _alignment_report(questions, repairs, left_out, windows, self.windows)
        lengths = self.windows.lengths
        widths = reading_windows.bucket_widths(lengths, longest=windows.input_ids.shape[1])
        self.batches = []
        for epoch in range(int(np.ceil(epochs))):
            rng = np.random.default_rng([seed, epoch])
            self.batches += reading_windows.epoch_batches(lengths, widths, batch_size, rng)
        self.num_steps = max(1, round(len(self.batches) * epochs / max(1, np.ceil(epochs))))
        self.padding = reading_windows.padding_share(self.batches, lengths)
        self.settings = {
            "train_file": files.sha256(path),
            "train_batch_size": batch_size,
            "windows": len(self.windows),
            "num_steps": self.num_steps,
            "seed": seed,
        }

    def dataset(self) -> tf.data.Dataset:
        """Batches by their numbers alone, so that an iterator's place in them can be saved and taken up again."""
        features = {name: tf.constant(value) for name, value in self.windows.features().items()}
        rows = np.stack([batch.rows for batch in self.batches]).astype(np.int32)
        widths = np.array([batch.width for batch in self.batches], np.int32)

        def cut(rows, width):
            real = tf.maximum(rows, 0)
            batch = {name: tf.gather(value, real) for name, value in features.items()}
            batch = {name: value[:, :width] if value.shape.rank == 2 else value for name, value in batch.items()}
            return batch | {"example_weight": tf.cast(rows >= 0, tf.float32)}

        dataset = tf.data.Dataset.from_tensor_slices((rows, widths)).repeat()
        return dataset.map(cut).prefetch(4)


def _alignment_report(questions, repairs, left_out, windows, chosen) -> dict:
    kinds = collections.Counter(repair.kind for repair in repairs)
    gone = collections.Counter(item.kind for item in left_out)
    return {
        "counts": {
            "questions": len(questions),
            "left_out": sum(gone.values()),
            **{f"left_out_{kind}": count for kind, count in sorted(gone.items())},
            **{f"repaired_or_noted_{kind}": count for kind, count in sorted(kinds.items())},
            "windows": len(windows),
            "windows_trained_on": len(chosen),
            "windows_with_answer": int((chosen.start_positions > 0).sum()),
        },
        "left_out": [item._asdict() for item in left_out],
        "repaired_or_noted": [repair._asdict() for repair in repairs],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Prediction
# ---------------------------------------------------------------------------------------------------------------------


def predict_logits(
    model, windows: Windows, *, batch_size: int, strategy=None, jit_compile: bool | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Start and end logits of every window, float32 [W, S], and the share of padding in what was computed.

    Windows are predicted in batches of their length; behind a window's width its logits are as low as can be.
    """
    lengths = windows.lengths
    widths = reading_windows.bucket_widths(lengths, longest=windows.input_ids.shape[1])
    batches = reading_windows.prediction_batches(lengths, widths, batch_size)
    inputs = {name: getattr(windows, name) for name in ("input_ids", "input_mask", "segment_ids")}
    dataset = ({name: value[batch.rows, : batch.width] for name, value in inputs.items()} for batch in batches)
    outputs = loop.predict(
        model,
        progress(dataset, "prediction", total=len(batches), unit="batches"),
        strategy=strategy,
        padding_value=-np.inf,
        jit_compile=jit_compile,
    )
    order = np.concatenate([batch.rows for batch in batches])
    logits = []
    for name in ("start_logits", "end_logits"):
        array = np.full(windows.input_ids.shape, -np.inf, np.float32)
        array[order, : outputs[name].shape[1]] = outputs[name]
        logits.append(array)
    return *logits, round(reading_windows.padding_share(batches, lengths), 4)


def write_predictions(
    output_dir: str,
    questions: Sequence[Question],
    windows: Windows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    *,
    n_best_size: int,
    max_answer_length: int,
    null_threshold: float | None,
    strip: bool,
    metric: str,
) -> dict:
    """Reads the answers off the logits and writes the files of answers; the summary of what was found.

    `null_threshold` None: every question has an answer. `strip` says whether predictions.json holds the stripped ones.
    """
    spans = answers.decode(
        questions,
        windows,
        start_logits,
        end_logits,
        n_best_size=n_best_size,
        max_answer_length=max_answer_length,
        with_null=null_threshold is not None,
    )
    stripper = JosaStripper()
    told = progress(zip(questions, spans, strict=True), "answers", total=len(questions), unit="questions")
    nbest = {question.id: _entries(question, found, stripper) for question, found in told}
    best = {name: next((e for e in entries if e["text"]), _NOTHING) for name, entries in nbest.items()}
    odds = {}
    if null_threshold is not None:
        null = answers.null_scores(windows, start_logits, end_logits, len(questions)).tolist()
        for score, (name, entry) in zip(null, best.items(), strict=True):
            odds[name] = score - entry["start_logit"] - entry["end_logit"]
        best = {name: _NOTHING if odds[name] > null_threshold else entry for name, entry in best.items()}
        files.write_json(f"{output_dir}/null_odds.json", odds)
    kinds = {"raw": "text", "stripped": "stripped"}
    predictions = {kind: {name: entry[key] for name, entry in best.items()} for kind, key in kinds.items()}
    files.write_json(f"{output_dir}/nbest_predictions.json", nbest)
    for kind, texts in predictions.items():
        files.write_json(f"{output_dir}/predictions_{kind}.json", texts)
    chosen = "stripped" if strip else "raw"
    files.write_json(f"{output_dir}/predictions.json", predictions[chosen])
    summary = {"predictions": len(best), "strip_josa": strip}
    return summary | _scores(output_dir, questions, predictions, chosen, metric, odds or None)


_NOTHING = {"text": "", "stripped": "", "start_logit": 0.0, "end_logit": 0.0}


def _entries(question: Question, spans: Sequence[Span], stripper: JosaStripper) -> list[dict]:
    """The n-best list of a question as the original writes it, with places in the context and the stripped text."""
    entries = []
    for span in spans:
        start, end = stripper(question.context, span.start, span.end)
        entries.append(
            {
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
        )
    return entries


def _scores(output_dir, questions, predictions: dict, chosen: str, metric: str, odds) -> dict:
    """EM and F1 of both kinds of answers, where the file has gold answers."""
    gold = squad_files.gold_answers(questions)
    if not all(gold.values()) and metric != "squad2":
        print("not every question has a gold answer: nothing to score", file=sys.stderr)
        return {}
    results = {
        kind: metrics.evaluate(metric, gold, texts, null_odds=odds, null_threshold=np.inf)
        for kind, texts in predictions.items()
    }
    flat = {f"{kind}_{name}": result[name] for kind, result in results.items() for name in ("exact_match", "f1")}
    write_eval_results(output_dir, {"metric": metric, **results[chosen], **flat})
    return {"metric": metric, **results[chosen], **{kind: _short(result) for kind, result in results.items()}}


def _short(result: dict) -> dict:
    return {name: round(result[name], 4) for name in ("exact_match", "f1")}
