"""The training step and the forward pass against the floor of their matrix products, and against the peers installed.

    python tools/benchmark.py --sizes=small --shapes=32x128 --precisions=float32,bfloat16

Every figure is of one process of its own, so that a precision policy or a peak of memory is nobody else's; the whole
round is repeated `--rounds` times, all contestants in turn, and medians are given, because machines are shared and
drift. The floor is the time that the step's matrix products alone take, each at its own shape and precision, with the
library's own matmul in the same round: `share_of_floor` is floor / step, 1 being a step that does nothing else.

Speed of text, of data creation and of answering: `benchmark_text.py`, `benchmark_data.py`, `benchmark_prediction.py`.
"""

import dataclasses
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from absl import flags

from kobert_tf2 import command_line, files
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", "small", "Of tiny (2x128), small (4x512), base (12x768).")
flags.DEFINE_list("shapes", "32x128,8x512", "Batch times sequence length.")
flags.DEFINE_list("precisions", "float32,bfloat16", "Of float32, bfloat16.")
flags.DEFINE_list(
    "contestants", "ours,transformers,keras_hub", "Who is measured; peers that are not installed are not."
)
flags.DEFINE_list("passes", "train,predict", "The training step, the forward pass of question answering.")
flags.DEFINE_integer("rounds", 3, "How often everything is repeated.", lower_bound=1)
flags.DEFINE_integer("steps", 5, "Steps timed in a round, after two that are not.", lower_bound=1)
flags.DEFINE_integer("vocab_size", 32000, "Entries of the vocabulary.", lower_bound=8)
flags.DEFINE_string("output", None, "JSON file for the results.")
flags.DEFINE_string("case", None, "Internal: one measurement, as JSON, done in this process.")

WIDTHS = {"tiny": (2, 128, 2), "small": (4, 512, 8), "base": (12, 768, 12)}  # layers, width, heads
PREDICTIONS_A_TOKEN = 20 / 128
WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing to measure."""

    contestant: str
    kind: str
    size: str
    batch: int
    length: int
    precision: str
    vocab_size: int
    steps: int

    @property
    def predictions(self) -> int:
        return round(self.length * PREDICTIONS_A_TOKEN)

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size} {self.batch}x{self.length} {self.precision}"


# ---- Contestants: each builds a step and returns a function that does one ------------------------------------------


def batch_of(case: Case) -> dict[str, np.ndarray]:
    """Random tokens without padding: what is measured must not depend on how a library treats padding."""
    rng = np.random.default_rng(0)
    shape = (case.batch, case.length)
    positions = np.stack([rng.choice(case.length, case.predictions, replace=False) for _ in range(case.batch)])
    return {
        "input_ids": rng.integers(5, case.vocab_size, shape).astype(np.int32),
        "input_mask": np.ones(shape, np.int32),
        "segment_ids": np.repeat(np.arange(case.length)[None] >= case.length // 2, case.batch, 0).astype(np.int32),
        "masked_lm_positions": np.sort(positions).astype(np.int32),
        "masked_lm_ids": rng.integers(5, case.vocab_size, (case.batch, case.predictions)).astype(np.int32),
        "masked_lm_weights": np.ones((case.batch, case.predictions), np.float32),
        "next_sentence_labels": rng.integers(0, 2, (case.batch, 1)).astype(np.int32),
    }


def ours(case: Case) -> Callable[[], object]:
    import tensorflow as tf

    import kobert_tf2 as kb
    from kobert_tf2 import losses, optimization, training
    from kobert_tf2.steps import TrainSteps

    training.set_precision(case.precision)
    layers, width, heads = WIDTHS[case.size]
    config = kb.BertConfig(
        vocab_size=case.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    batch = {name: tf.constant(value) for name, value in batch_of(case).items()}
    if case.kind == "predict":
        model = kb.BertForQuestionAnswering(config)
        inputs = {name: batch[name] for name in ("input_ids", "input_mask", "segment_ids")}
        forward = tf.function(lambda: model(inputs, training=False))
        return lambda: forward()["start_logits"].numpy()
    model = kb.BertForPreTraining(config)
    optimizer = optimization.create_optimizer("bert_adam", learning_rate=1e-4, num_train_steps=1000)
    optimizer.build(model.trainable_variables)
    task = training.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums)
    step = TrainSteps(tf.distribute.get_strategy(), model, optimizer, task)
    stacked = {name: value[None] for name, value in batch.items()}
    return lambda: step(stacked, 0).numpy()


def transformers(case: Case) -> Callable[[], object]:
    import contextlib

    import torch
    from transformers import BertConfig, BertForPreTraining, BertForQuestionAnswering

    layers, width, heads = WIDTHS[case.size]
    config = BertConfig(
        vocab_size=case.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        hidden_act="gelu_new",
    )
    batch = {name: torch.from_numpy(value).long() for name, value in batch_of(case).items()}
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["input_mask"]}
    inputs["token_type_ids"] = batch["segment_ids"]
    bf16 = case.precision == "bfloat16"
    precision = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
    if case.kind == "predict":
        model = BertForQuestionAnswering(config).eval()

        def predict():
            with torch.inference_mode(), precision:
                return model(**inputs).start_logits.float().numpy()

        return predict
    model = BertForPreTraining(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    labels = torch.full_like(batch["input_ids"], -100).scatter_(1, batch["masked_lm_positions"], batch["masked_lm_ids"])

    def step():
        optimizer.zero_grad()
        with precision:
            loss = model(**inputs, labels=labels, next_sentence_label=batch["next_sentence_labels"][:, 0]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def keras_hub(case: Case) -> Callable[[], object]:
    """Without next-sentence prediction, which keras-hub does not have, and with the clip that Keras has."""
    import keras
    import keras_hub

    if case.kind == "predict":
        raise InputError("keras-hub has no question answering model")
    keras.config.set_dtype_policy("mixed_bfloat16" if case.precision == "bfloat16" else "float32")
    layers, width, heads = WIDTHS[case.size]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=case.vocab_size,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=4 * width,
    )
    model = keras_hub.models.BertMaskedLM(backbone)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4, global_clipnorm=1.0), loss, jit_compile=False)
    batch = batch_of(case)
    inputs = {
        "token_ids": batch["input_ids"],
        "padding_mask": batch["input_mask"],
        "segment_ids": batch["segment_ids"],
        "mask_positions": batch["masked_lm_positions"],
    }
    return lambda: model.train_on_batch(inputs, batch["masked_lm_ids"], batch["masked_lm_weights"])


CONTESTANTS = {"ours": ours, "transformers": transformers, "keras_hub": keras_hub}


# ---- The floor -----------------------------------------------------------------------------------------------------


def products_of(case: Case) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(how many, (batch, rows, inner, columns)) of a forward pass; the backward pass has each twice more."""
    layers, width, heads = WIDTHS[case.size]
    tokens = case.batch * case.length
    yield 4 * layers, (1, tokens, width, width)
    yield layers, (1, tokens, width, 4 * width)
    yield layers, (1, tokens, 4 * width, width)
    yield layers, (case.batch * heads, case.length, width // heads, case.length)
    yield layers, (case.batch * heads, case.length, case.length, width // heads)
    if case.kind == "train":
        masked = case.batch * case.predictions
        yield 1, (1, masked, width, width)
        yield 1, (1, masked, width, case.vocab_size)


def flops_of(case: Case) -> float:
    """Floating-point operations of the matrix products of one step."""
    forward = sum(2 * count * np.prod(shape, dtype=float) for count, shape in products_of(case))
    return forward * (3 if case.kind == "train" else 1)


def floor(case: Case) -> Callable[[], object]:
    """Does the step's matrix products and nothing else, with TensorFlow's own matmul."""
    import tensorflow as tf

    dtype = tf.as_dtype(case.precision)
    work = []
    for count, (batch, rows, inner, columns) in products_of(case):
        shapes = [(rows, inner, columns)]
        if case.kind == "train":
            shapes += [(rows, columns, inner), (inner, rows, columns)]
        for m, k, n in shapes:
            left, right = (tf.cast(tf.random.normal((batch, *shape)), dtype) for shape in ((m, k), (k, n)))
            work.append((count, left[0] if batch == 1 else left, right[0] if batch == 1 else right))

    def products():
        for count, left, right in work:
            for _ in range(count):
                result = tf.matmul(left, right)
        return result[..., :1, :1].numpy()

    return products


# ---- Measuring -----------------------------------------------------------------------------------------------------


def measure(case: Case) -> dict:
    """Seconds a step (the median of `case.steps`) and peak MiB of this process."""
    step = (floor if case.contestant == "floor" else CONTESTANTS[case.contestant])(case)
    for _ in range(WARM_UP_STEPS):
        step()
    seconds = []
    for _ in range(case.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds), "peak_mib": peak}


def measure_apart(case: Case) -> dict | None:
    """`measure` in a process of its own; None where it failed, its last words being shown."""
    command = [sys.executable, __file__, f"--case={json.dumps(dataclasses.asdict(case))}"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        print(f"{case.contestant}, {case.name}: {result.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(result.stdout.splitlines()[-1])


def installed(contestant: str) -> bool:
    needed = {"transformers": ("torch", "transformers"), "keras_hub": ("keras_hub",)}.get(contestant, ())
    return all(importlib.util.find_spec(module) for module in needed)


def cases() -> Iterator[list[Case]]:
    """The contestants of one comparison together, the floor first."""
    names = [name for name in FLAGS.contestants if installed(name)]
    for kind in FLAGS.passes:
        for size in FLAGS.sizes:
            for shape in FLAGS.shapes:
                batch, length = parsed_shape(shape)
                for precision in FLAGS.precisions:
                    common = (kind, size, batch, length, precision, FLAGS.vocab_size, FLAGS.steps)
                    able = [name for name in names if not (name == "keras_hub" and kind == "predict")]
                    yield [Case(name, *common) for name in ("floor", *able)]


def parsed_shape(shape: str) -> tuple[int, int]:
    batch, _, length = shape.partition("x")
    if not (batch.isdigit() and length.isdigit() and 0 < int(length) <= 512):
        raise InputError(f"--shapes: expected batch x length such as 32x128, length up to 512, but got {shape!r}")
    return int(batch), int(length)


def compare(contestants: list[Case]) -> list[dict]:
    """All contestants in turn, `--rounds` times; medians, with each round's own floor."""
    rounds = [[measure_apart(case) for case in contestants] for _ in range(FLAGS.rounds)]
    rows = []
    for case, figures in zip(contestants, zip(*rounds, strict=True), strict=True):
        if None in figures:
            continue
        seconds = statistics.median(figure["seconds"] for figure in figures)
        row = dataclasses.asdict(case) | {
            "seconds": seconds,
            "tokens_per_second": case.batch * case.length / seconds,
            "peak_mib": max(figure["peak_mib"] for figure in figures),
            "gflops": flops_of(case) / seconds / 1e9,
        }
        shares = [
            floor["seconds"] / figure["seconds"] for (floor, *_), figure in zip(rounds, figures, strict=True) if floor
        ]
        rows.append(row | {"share_of_floor": statistics.median(shares) if shares else None})
        show(row | {"share_of_floor": rows[-1]["share_of_floor"]}, case)
    return rows


def show(row: dict, case: Case) -> None:
    print(
        f"{case.name:<32} {case.contestant:<13} {row['seconds'] * 1e3:9.1f} ms"
        f" {row['tokens_per_second']:9,.0f} tokens/s {row['peak_mib']:7,.0f} MiB {row['gflops']:7,.0f} GFLOP/s"
        f" {row['share_of_floor'] or 0:6.2f} of the floor",
        file=sys.stderr,
    )


def check_flags() -> None:
    known = (
        ("sizes", WIDTHS),
        ("precisions", ("float32", "bfloat16")),
        ("contestants", CONTESTANTS),
        ("passes", ("train", "predict")),
    )
    for flag, values in known:
        if wrong := set(FLAGS[flag].value) - set(values):
            raise InputError(f"--{flag}: expected some of {', '.join(values)}, but got {', '.join(sorted(wrong))}")


def main() -> dict:
    if FLAGS.case:
        return measure(Case(**json.loads(FLAGS.case)))
    check_flags()
    results = [row for contestants in cases() for row in compare(contestants)]
    if FLAGS.output:
        files.write_json(FLAGS.output, results)
    return {"results": results}


if __name__ == "__main__":
    command_line.run(main)
