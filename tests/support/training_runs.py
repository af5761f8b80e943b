"""Small runs for the training tests, in this process or in a separate one (`python training_runs.py NAME ...`).

Two logical CPU devices must be requested before TensorFlow starts, and only a run in a separate process can be killed.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCAB, SEQUENCE, PREDICTIONS = 61, 16, 4


def features(rows: int, seed: int = 0) -> dict:
    """Partly masked pre-training features with a learnable structure (a masked piece is its neighbour's successor)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    start = rng.integers(5, VOCAB, (rows, 1))
    ids = 5 + (start - 5 + np.arange(SEQUENCE)) % (VOCAB - 5)
    lengths = rng.integers(SEQUENCE // 2, SEQUENCE + 1, rows)
    mask = np.arange(SEQUENCE) < lengths[:, None]
    positions = np.sort(np.argsort(rng.random((rows, SEQUENCE // 2 - 1)), axis=1)[:, :PREDICTIONS] + 1, axis=1)
    labels = np.take_along_axis(ids, positions, axis=1)
    np.put_along_axis(ids, positions, 4, axis=1)
    weights = (np.arange(PREDICTIONS) < rng.integers(1, PREDICTIONS + 1, (rows, 1))).astype(np.float32)
    return {
        "input_ids": (ids * mask).astype(np.int32),
        "input_mask": mask.astype(np.int32),
        "segment_ids": ((np.arange(SEQUENCE) >= lengths[:, None] // 2) & mask).astype(np.int32),
        "masked_lm_positions": (positions * (weights > 0)).astype(np.int32),
        "masked_lm_ids": (labels * (weights > 0)).astype(np.int32),
        "masked_lm_weights": weights,
        "next_sentence_labels": (start % 2).astype(np.int32),
    }


def config(*, dropout: float = 0.0):
    from kobert_tf2.bert import models

    return models.BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=SEQUENCE,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.1,
    )


def dataset(*, batch_size: int = 8, rows: int = 96):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(features(rows)).shuffle(32, seed=3).repeat()
    return data.batch(batch_size, drop_remainder=True)


def dataset_of_four_rows(times: int):
    """Batches of the same four rows, repeated `times` times."""
    import numpy as np
    import tensorflow as tf

    return tf.data.Dataset.from_tensors({name: np.tile(x, [times, 1]) for name, x in features(4).items()}).repeat()


def tiny_model(dropout: float):
    """A model with BERT's inputs, outputs and dropout, for testing the loop, that traces in a tenth of the time."""
    import keras

    from kobert_tf2.bert.dropout import Dropout

    ids, positions = (keras.Input((None,), dtype="int32", name=name) for name in ("input_ids", "masked_lm_positions"))
    hidden = Dropout(dropout, site="tiny")(keras.layers.Embedding(VOCAB, 12, name="embedding")(ids))
    hidden = keras.layers.Dense(12, activation="tanh", name="hidden")(hidden)
    picked = keras.ops.take_along_axis(hidden, positions[:, :, None], axis=1)
    logits = keras.layers.Dense(VOCAB, name="masked_lm", dtype="float32")(picked)
    sentence = keras.layers.Dense(2, name="sentence", dtype="float32")(keras.ops.mean(hidden, axis=1))
    outputs = {"masked_lm_logits": logits, "next_sentence_logits": sentence}
    return keras.Model({"input_ids": ids, "masked_lm_positions": positions}, outputs, name="tiny")


def model_and_optimizer(
    strategy, *, dropout: float = 0.0, optimizer: str = "bert_adam", num_steps: int = 20, tiny: bool = False
):
    import keras

    from kobert_tf2.bert import models
    from kobert_tf2.training import optimizers

    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = tiny_model(dropout) if tiny else models.BertForPreTraining(config(dropout=dropout))
        return model, optimizers.create_optimizer(
            optimizer, learning_rate=5e-3, num_train_steps=2 * num_steps, num_warmup_steps=3
        )


def log_of(folder) -> list[dict]:
    """The records of a run's train_log.jsonl, without the speeds."""
    lines = pathlib.Path(folder, "train_log.jsonl").read_text().splitlines()
    return [{name: x for name, x in json.loads(line).items() if name != "tokens_per_second"} for line in lines]


def learning_rates(peak: float, num_steps: int, num_warmup_steps: int) -> list[float]:
    """The original's learning rate at each step: warm-up from 0, then linear decay to 0 at the last step."""
    rising = [peak * step / num_warmup_steps for step in range(num_warmup_steps)]
    return rising + [peak * (1 - step / num_steps) for step in range(num_warmup_steps, num_steps)]


def task(*, tiny: bool = False):
    from kobert_tf2.training import loop, losses

    named = {"inputs": ("input_ids", "masked_lm_positions")} if tiny else {}
    return loop.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums, **named)


def loop_arguments(**arguments) -> dict:
    """Arguments for `loop.train`, including fields of `LoopSettings`."""
    from kobert_tf2.training import loop

    names = {field.name for field in dataclasses.fields(loop.LoopSettings)}
    settings = {name: value for name, value in arguments.items() if name in names}
    others = {name: value for name, value in arguments.items() if name not in names}
    return {**others, "settings": loop.LoopSettings(**settings)}


def run(
    strategy,
    *,
    dropout: float = 0.0,
    optimizer: str = "bert_adam",
    batch_size: int = 8,
    num_steps: int = 20,
    four_rows: int = 0,
    tiny: bool = False,
    fused: bool = False,
    **kwargs,
) -> dict:
    """Trains and returns the loss of each step and all variables at the end, as {name: array}."""
    import numpy as np

    from kobert_tf2.training import checkpoints, loop, optimizers

    optimizers.FUSE_FROM = 0 if fused else 1 << 16
    model, made = model_and_optimizer(strategy, dropout=dropout, optimizer=optimizer, num_steps=num_steps, tiny=tiny)
    losses, norms = [], []

    def note(step, record):
        losses.append(record["loss"])
        norms.append(record["gradient_norm"])

    loop.train(
        model,
        made,
        dataset_of_four_rows(four_rows) if four_rows else dataset(batch_size=batch_size),
        task(tiny=tiny),
        **loop_arguments(**{"num_steps": num_steps, "strategy": strategy, "log_steps": 1, "on_record": note, **kwargs}),
    )
    evaluated = loop.evaluate(model, dataset(batch_size=6, rows=20).take(3), task(tiny=tiny), strategy=strategy)
    named = checkpoints.named_variables(model) | checkpoints.named_variables(made)
    arrays = {name: variable.numpy() for name, variable in named.items()}
    return arrays | {
        "losses": np.array(losses),
        "norms": np.array(norms),
        "evaluated": np.array([evaluated[name] for name in sorted(evaluated)]),
    }


_FIT_ROWS = [[12.0, -3.0, 0.5], [8.0, 7.0, -1.0], [3.0, 3.0, 3.0], [-20.0, 1.0, 2.0]]
# The gradient of the mean absolute error at zero weights, where every target is above the output: minus the mean row.
FIT_GRADIENT = [-sum(column) * 10 / 4 for column in zip(*_FIT_ROWS, strict=True)]


def run_fit(strategy, epochs: int = 3) -> dict:
    """Runs `model.fit` with BertAdam on a linear layer that starts at 0, with gradient clipping."""
    import keras
    import numpy as np

    from kobert_tf2.training import optimizers

    rows = 10 * np.array(_FIT_ROWS, np.float32)
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="linear")]
        )
        made = optimizers.BertAdam(0.1, epsilon=1.0, weight_decay_rate=0.0)
        model.compile(made, loss="mean_absolute_error")
    model.fit(rows, np.full((4, 1), 1e4, np.float32), batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return {"weights": model.weights[0].numpy()}


# ----------------------------------------------------------------------------------------------------------------------
# In a separate process
# ----------------------------------------------------------------------------------------------------------------------


def environment(**variables) -> dict:
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return {**inherited, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", **variables}


def start(strategy: str, folder, runs: dict[str, dict], *, env: dict | None = None) -> subprocess.Popen:
    """Starts a process that runs `runs` on two logical CPU devices (or as a worker) and writes `folder/<name>.npz`."""
    command = [sys.executable, str(pathlib.Path(__file__)), strategy, str(folder), json.dumps(runs)]
    return subprocess.Popen(
        command, env=env or environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen, timeout: float = 600) -> str:
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise AssertionError(f"no end after {timeout} s:\n{said[-3000:]}") from None
    assert process.returncode == 0, said[-3000:]
    return said


def run_until_killed(strategy, folder: str, **kwargs) -> dict:
    """A `run` that can be resumed, slowed down and made to print its position, so it can be killed anywhere."""
    import time

    import tensorflow as tf

    from kobert_tf2.training import checkpoints, loop

    write = tf.train.Checkpoint.write

    def slow_write(self, path):
        _say("writing")
        result = write(self, path)
        time.sleep(0.05)  # The files are written; their checksums and the rename are pending.
        return result

    def note(step, record):
        _say(f"step {step}")
        time.sleep(0.01)

    checkpoints.tf.train.Checkpoint.write = slow_write
    model, optimizer = model_and_optimizer(strategy, dropout=0.1, num_steps=kwargs["num_steps"], tiny=True)
    _say("training")
    loop.train(
        model,
        optimizer,
        dataset(),
        task(tiny=True),
        strategy=strategy,
        output_dir=folder,
        on_record=note,
        **loop_arguments(log_steps=1, **kwargs),
    )
    _say("evaluating")
    loop.evaluate(model, dataset(batch_size=6, rows=20).take(30), task(tiny=True), strategy=strategy)
    named = checkpoints.named_variables(model) | checkpoints.named_variables(optimizer)
    return {name: variable.numpy() for name, variable in named.items()}


def _say(what: str) -> None:
    print(what, flush=True)


def _main(name: str, folder: str, runs: str) -> None:
    import numpy as np
    import tensorflow as tf

    from kobert_tf2.training import loop

    if name == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = loop.make_strategy(name)
    for name, kwargs in json.loads(runs).items():
        if name == "fit":
            results = run_fit(strategy)
        else:
            results = run_until_killed(strategy, folder, **kwargs) if name == "killed" else run(strategy, **kwargs)
        np.savez(f"{folder}/{name}.npz", **results)


if __name__ == "__main__":
    _main(*sys.argv[1:])
