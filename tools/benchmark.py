"""The training step and the forward pass against the floor of their matrix products, and against the peers installed.

    python tools/benchmark.py --sizes=small --shapes=32x128 --precisions=float32,bfloat16
    python tools/benchmark.py --passes=read_train,read_predict --shapes=12x384 \\
        --contestants=ours,ours_padded,transformers

Every figure is measured in a process of its own, so that no precision policy and no memory peak carries over. The whole
round is repeated `--rounds` times, with the contestants in turn, and medians are reported, because machines are shared
and drift. The floor is the time of the step's matrix products alone, each at its own shape and precision, with
TensorFlow's matmul, in the same round: `share_of_floor` is floor / step, and 1 would be a step that does nothing else.
Only the products that the outputs need are counted, the same for every contestant: one that does more of them (a full
last layer, logits at every position) has a lower share.

Passes:
- `train`: a pre-training step on one batch.
- `data`: the same step, fed from records on disk as a run is, with the share of time spent waiting for data.
- `predict`: the forward pass of question answering.
- `read_train`, `read_predict`: question answering on rows as long as KorQuAD's windows. `ours` batches rows of similar
  length, as `finetune_mrc.py` does; `ours_padded` and `transformers` pad every row to the full length. Figures are
  examples per second; one step is all rows once.

`--all` measures every figure of speed, time and memory that README.md and configs/ state (`kobert_tf2/figures.py`) and
writes `benchmarks/<date>-<processor>.json` and a table beside it; `--only` names some of them, `--dry_run` lists them.

`--isa=avx2` or `avx512` (without bfloat16 and AMX) limits every contestant alike: oneDNN in TensorFlow and in torch,
XLA, torch's own kernels and MKL. Not limited: Eigen within TensorFlow, which is compiled for what its package asks for
and chooses some loops by the processor, NumPy, and the C library. So it is a stand-in for such a processor, not that
processor: clock and caches stay those of this machine. bfloat16 cannot be measured with `--isa=avx2`: TensorFlow asks
the processor, not oneDNN, whether it has bfloat16, and ends the process when oneDNN refuses.

TF Model Garden needs Keras 2 and so an environment of its own, which --model_garden_python names.

Speed of text, of data creation and of answering: `benchmark_text.py`, `benchmark_data.py`, `benchmark_prediction.py`.
What was tried for the kernels of the step and did not help: `kobert_tf2/bert/kernels/TRIED-2026-11.md`.
"""

import dataclasses
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import flags

from kobert_tf2 import command_line, figures, files, outputs, processor
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", "small", "Of tiny (2x128), small (4x512), base (12x768), smoke (2x64), nsmc (4x256).")
flags.DEFINE_list("shapes", "32x128,8x512", "Batch times sequence length.")
flags.DEFINE_list("precisions", "float32,bfloat16", "Of float32, bfloat16.")
flags.DEFINE_list(
    "contestants", "ours,model_garden,transformers,keras_hub", "Who is measured; peers that are not installed are not."
)
flags.DEFINE_list("passes", "train,data,predict", "Of train, data, predict, read_train, read_predict: see above.")
flags.DEFINE_string("model_garden_python", None, "A python with tf-models-official and tf_keras.")
flags.DEFINE_integer("rounds", 3, "How often everything is repeated.", lower_bound=1)
flags.DEFINE_integer("steps", 5, "Steps timed in a round, after two that are not.", lower_bound=1)
flags.DEFINE_integer("vocab_size", 32000, "Entries of the vocabulary.", lower_bound=8)
flags.DEFINE_string(
    "output", None, "JSON file for the results; with --all benchmarks/<date>-<processor>.json where it is not given."
)
flags.DEFINE_enum(
    "isa", "native", ["avx2", "avx512", "native"], "Limit all contestants alike to these instruction sets: see above."
)
flags.DEFINE_bool("all", False, "Measure again every figure that README.md and configs/ state.")
flags.DEFINE_list("only", [], "With --all: the figures whose name or place contains one of these.")
flags.DEFINE_bool("dry_run", False, "With --all: list the figures and their commands, and measure nothing.")
flags.DEFINE_string("case", None, "Internal: one measurement, as JSON, done in this process.")

# {--isa: (what /proc/cpuinfo must list, the environment that limits the libraries)}
ISAS: dict[str, tuple[str, dict[str, str]]] = {
    "avx2": (
        "avx2",
        {
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
    ),
    "avx512": (
        "avx512f",
        {
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
            "XLA_FLAGS": "--xla_cpu_max_isa=AVX512",
            "ATEN_CPU_CAPABILITY": "avx512",
            "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        },
    ),
}
WIDTHS = {  # layers, width, heads
    "tiny": (2, 128, 2),
    "small": (4, 512, 8),
    "base": (12, 768, 12),
    "smoke": (2, 64, 2),  # configs/bert_tiny.json
    "nsmc": (4, 256, 4),  # configs/bert_nsmc.json
}
PREDICTIONS_A_TOKEN = 20 / 128
WARM_UP_STEPS = 2
# Windows of at most 384 tokens on KorQuAD 1.0 (dev, WordPiece of 32,200 entries): the least, the deciles, the most.
WINDOW_LENGTHS = (143, 173, 188, 201, 218, 239, 260, 281, 327, 384, 384)
ROWS_TO_READ = 96
TRAINING = ("train", "data")
SPAN_INPUTS = ("input_ids", "input_mask", "segment_ids")
READING = ("read_train", "read_predict")


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
    def trains(self) -> bool:
        return self.kind in (*TRAINING, "read_train")

    @property
    def batches(self) -> int:
        """In what is timed as one step."""
        return -(-ROWS_TO_READ // self.batch) if self.kind in READING else 1

    @property
    def examples(self) -> int:
        return ROWS_TO_READ if self.kind in READING else self.batch

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size} {self.batch}x{self.length} {self.precision}"


# ---- Contestants: each builds a step and returns a function that does one ------------------------------------------


def batch_of(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tokens without padding: what is measured must not depend on how a library treats padding."""
    rng = np.random.default_rng(seed)
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


def our_model(case: Case, cls: str):
    import kobert_tf2 as kb
    from kobert_tf2.training import loop

    loop.set_precision(case.precision)
    layers, width, heads = WIDTHS[case.size]
    config = kb.BertConfig(
        vocab_size=case.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    return getattr(kb, cls)(config)


def our_steps(model, task, *, recompute: bool = False):
    import tensorflow as tf

    from kobert_tf2.training import optimizers
    from kobert_tf2.training.steps import TrainSteps

    optimizer = optimizers.create_optimizer("bert_adam", learning_rate=1e-4, num_train_steps=1000)
    optimizer.build(model.trainable_variables)
    return TrainSteps(tf.distribute.get_strategy(), model, optimizer, task, recompute=recompute)


def ours(case: Case) -> Callable[[], object]:
    import tensorflow as tf

    from kobert_tf2.training import loop, losses
    from kobert_tf2.training.steps import ForwardPass

    if case.kind in READING:
        return our_reading(case, bucketed=True)
    batch = {name: tf.constant(value) for name, value in batch_of(case).items()}
    if case.kind == "predict":
        forward = ForwardPass(tf.distribute.get_strategy(), our_model(case, "BertForQuestionAnswering"), None)
        inputs = {name: batch[name] for name in ("input_ids", "input_mask", "segment_ids")}
        return lambda: forward.outputs(inputs)["start_logits"].numpy()
    task = loop.Task(weights=losses.pretraining_weights, sums=losses.pretraining_sums)
    step = our_steps(our_model(case, "BertForPreTraining"), task, recompute=case.contestant == "ours_recompute")
    if case.kind == "data":
        return FedFromRecords(case, step)
    stacked = {name: value[None] for name, value in batch.items()}
    return lambda: step(stacked, 0).numpy()


class FedFromRecords:
    """A training step on the next batch of a run's own dataset, and how long it waits for that."""

    def __init__(self, case: Case, step: Callable):
        from kobert_tf2.pretraining_data import tfrecord

        self._step, self._folder = step, tempfile.TemporaryDirectory()
        features = tfrecord.pretraining_features(max_seq_length=case.length, max_predictions_per_seq=case.predictions)
        for shard in range(4):
            rows = [batch_of(case, seed=10 * shard + part) for part in range(8)]
            table = {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}
            tfrecord.write(f"{self._folder.name}/{shard}.tfrecord", table)
        dataset = tfrecord.dataset(
            f"{self._folder.name}/*.tfrecord",
            features,
            batch_size=case.batch,
            shuffle_buffer=1000,
            seed=0,
            repeat=True,
        )
        self._batches = iter(dataset)
        self.waited: list[float] = []

    def __call__(self):
        began = time.perf_counter()
        batch = next(self._batches)
        self.waited.append(time.perf_counter() - began)
        return self._step({name: value[None] for name, value in batch.items()}, 0).numpy()


def rows_to_read(case: Case) -> dict[str, np.ndarray]:
    """`ROWS_TO_READ` rows with the lengths of KorQuAD's windows, every row with an answer."""
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(ROWS_TO_READ), np.linspace(0, 1, len(WINDOW_LENGTHS)), WINDOW_LENGTHS)
    lengths = np.round(lengths * case.length / WINDOW_LENGTHS[-1]).astype(int)
    mask = np.arange(case.length) < lengths[:, None]
    ids = rng.integers(5, case.vocab_size, mask.shape)
    context = 20 * case.length // WINDOW_LENGTHS[-1]  # where it begins, behind the question
    return {
        "input_ids": (ids * mask).astype(np.int32),
        "input_mask": mask.astype(np.int32),
        "segment_ids": ((np.arange(case.length) >= context) & mask).astype(np.int32),
        "start_positions": rng.integers(context, lengths, dtype=np.int32),
        "end_positions": rng.integers(context, lengths, dtype=np.int32),
    }


def cut(table: dict, rows, width: int) -> dict:
    return {name: value[rows][:, :width] if value.ndim == 2 else value[rows] for name, value in table.items()}


def padded_batches(table: dict, case: Case) -> list[dict]:
    return [cut(table, slice(at, at + case.batch), case.length) for at in range(0, ROWS_TO_READ, case.batch)]


def our_reading(case: Case, *, bucketed: bool) -> Callable[[], object]:
    import tensorflow as tf

    from kobert_tf2.tokenization import batches as batches_by_length
    from kobert_tf2.training import loop, losses
    from kobert_tf2.training.steps import ForwardPass

    table, batches = rows_to_read(case), []
    lengths = table["input_mask"].sum(axis=1)
    if bucketed:
        widths = batches_by_length.bucket_widths(lengths, longest=case.length)
        rng = np.random.default_rng(0)
        for batch in batches_by_length.epoch_batches(lengths, widths, case.batch, rng):
            weight = {"example_weight": (batch.rows >= 0).astype(np.float32)}
            batches.append(cut(table, np.maximum(batch.rows, 0), batch.width) | weight)
    else:
        batches = padded_batches(table, case)
    model = our_model(case, "BertForQuestionAnswering")
    if case.kind == "read_predict":
        forward = ForwardPass(tf.distribute.get_strategy(), model, None)
        names = ("input_ids", "input_mask", "segment_ids")
        inputs = [{name: tf.constant(batch[name]) for name in names} for batch in batches]
        return lambda: [forward.outputs(each)["start_logits"].numpy() for each in inputs]
    step = our_steps(model, loop.Task(weights=losses.span_weights, sums=losses.span_sums, inputs=SPAN_INPUTS))
    stacked = [{name: tf.constant(value[None]) for name, value in batch.items()} for batch in batches]
    return lambda: [step(each, 0).numpy() for each in stacked]


def ours_padded(case: Case) -> Callable[[], object]:
    return our_reading(case, bucketed=False)


def model_garden(case: Case) -> Callable[[], object]:
    """As its masked-LM task trains: BertPretrainerV2, both losses, gradients clipped, AdamWeightDecay."""
    import tensorflow as tf
    import tf_keras
    from official.nlp import optimization
    from official.nlp.modeling import layers as garden_layers
    from official.nlp.modeling import models, networks

    if case.precision == "bfloat16":
        tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    layers, width, heads = WIDTHS[case.size]
    gelu = lambda x: tf.nn.gelu(x, approximate=True)  # noqa: E731
    encoder = networks.BertEncoderV2(
        vocab_size=case.vocab_size,
        hidden_size=width,
        num_layers=layers,
        num_attention_heads=heads,
        inner_dim=4 * width,
        inner_activation=gelu,
        output_dropout=0.1,
        attention_dropout=0.1,
    )
    head = garden_layers.ClassificationHead(inner_dim=width, num_classes=2, dropout_rate=0.1, name="next_sentence")
    model = models.BertPretrainerV2(encoder_network=encoder, mlm_activation=gelu, classification_heads=[head])
    names = {"input_word_ids": "input_ids", "input_mask": "input_mask", "input_type_ids": "segment_ids"}
    batch = {name: tf.constant(value) for name, value in batch_of(case).items()}
    inputs = {theirs: batch[ours] for theirs, ours in names.items()}
    inputs["masked_lm_positions"] = batch["masked_lm_positions"]
    model(inputs)
    optimizer = optimization.AdamWeightDecay(
        learning_rate=1e-4,
        weight_decay_rate=0.01,
        epsilon=1e-6,
        exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"],
        gradient_clip_norm=0.0,
    )
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits

    @tf.function
    def step(inputs, words, sentences):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = tf.reduce_mean(cross_entropy(words, tf.cast(outputs["mlm_logits"], tf.float32)))
            loss += tf.reduce_mean(cross_entropy(sentences, tf.cast(outputs["next_sentence"], tf.float32)))
        variables = model.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return lambda: step(inputs, batch["masked_lm_ids"], batch["next_sentence_labels"][:, 0]).numpy()


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
    if case.kind in READING:
        return transformers_reading(case, BertForQuestionAnswering(config), precision)
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


def transformers_reading(case: Case, model, precision) -> Callable[[], object]:
    import torch

    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    names |= {"start_positions": "start_positions", "end_positions": "end_positions"}
    batches = [
        {theirs: torch.from_numpy(batch[ours]).long() for theirs, ours in names.items()}
        for batch in padded_batches(rows_to_read(case), case)
    ]
    model.train(case.kind == "read_train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def predict():
        with torch.inference_mode(), precision:
            return [model(**batch).start_logits.float().numpy() for batch in batches]

    def train():
        for batch in batches:
            optimizer.zero_grad()
            with precision:
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return loss.item()

    return train if case.kind == "read_train" else predict


def keras_hub(case: Case) -> Callable[[], object]:
    """Without next-sentence prediction, which keras-hub does not have, and with the clip that Keras has."""
    import keras
    import keras_hub

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


CONTESTANTS = {
    "ours": ours,
    "ours_padded": ours_padded,
    "ours_recompute": ours,
    "model_garden": model_garden,
    "transformers": transformers,
    "keras_hub": keras_hub,
}
# Who can do a pass: the others have no such model, or nothing that compares.
ABLE = {
    "train": {"ours", "ours_recompute", "model_garden", "transformers", "keras_hub"},
    "data": {"ours"},
    "predict": {"ours", "transformers"},
    "read_train": {"ours", "ours_padded", "transformers"},
    "read_predict": {"ours", "ours_padded", "transformers"},
}


# ---- The floor -----------------------------------------------------------------------------------------------------


def products_of(case: Case) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(how many, (batch, rows, inner, columns)) of a forward pass over a batch; its backward pass has each twice more.

    Only those that the outputs need: pre-training reads the last layer at the masked positions and the first token
    alone. A reading pass is counted as padded, so batches of similar lengths can be faster than its floor.
    """
    layers, width, heads = WIDTHS[case.size]
    queries = case.predictions + 1 if case.kind in TRAINING else case.length  # positions that the last layer computes
    yield from layer_products(case.batch, case.length, case.length, width, heads, count=layers - 1)
    yield from layer_products(case.batch, queries, case.length, width, heads)
    if case.kind in TRAINING:
        masked = case.batch * case.predictions
        yield 1, (1, masked, width, width)
        yield 1, (1, masked, width, case.vocab_size)


def layer_products(batch: int, queries: int, length: int, width: int, heads: int, count: int = 1) -> Iterator[tuple]:
    """The products of `count` layers in which `queries` positions of each row attend to all `length` of them."""
    rows, depth = batch * queries, width // heads
    yield 2 * count, (1, rows, width, width)
    yield 2 * count, (1, batch * length, width, width)
    yield count, (1, rows, width, 4 * width)
    yield count, (1, rows, 4 * width, width)
    yield count, (batch * heads, queries, depth, length)
    yield count, (batch * heads, queries, length, depth)


def flops_of(case: Case) -> float:
    """Floating-point operations of the matrix products of one step."""
    forward = sum(2 * count * np.prod(shape, dtype=float) for count, shape in products_of(case))
    return forward * (3 if case.trains else 1) * case.batches


def floor(case: Case) -> Callable[[], object]:
    """Does the step's matrix products and nothing else, with TensorFlow's own matmul."""
    import tensorflow as tf

    dtype = tf.as_dtype(case.precision)
    work = []
    for count, (batch, rows, inner, columns) in products_of(case):
        shapes = [(rows, inner, columns)]
        if case.trains:
            shapes += [(rows, columns, inner), (inner, rows, columns)]
        for m, k, n in shapes:
            left, right = (tf.cast(tf.random.normal((batch, *shape)), dtype) for shape in ((m, k), (k, n)))
            work.append((count, left[0] if batch == 1 else left, right[0] if batch == 1 else right))

    def products():
        for count, left, right in work:
            for _ in range(count * case.batches):
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
    figures = {"seconds": statistics.median(seconds), "peak_mib": peak}
    if isinstance(step, FedFromRecords):
        figures["waiting_for_data"] = sum(step.waited[WARM_UP_STEPS:]) / sum(seconds)
    return figures


def limited(environment: Mapping[str, str], isa: str) -> dict[str, str]:
    """The environment of a process that is limited to an instruction set; raises `InputError` if this processor lacks
    it.
    """
    if isa == "native":
        return dict(environment)
    needed, limits = ISAS[isa]
    found = processor.this_processor()
    if found.features is not None and needed not in found.features:
        raise InputError(f"--isa={isa}: expected a processor that has it, but {found.name} does not")
    xla = f"{environment.get('XLA_FLAGS', '')} {limits['XLA_FLAGS']}".strip()
    return {**environment, **limits, "XLA_FLAGS": xla}


def measure_in_subprocess(case: Case) -> dict | None:
    """`measure` in a process of its own. None where it failed; the last line of its error is shown."""
    python, environment = sys.executable, limited(os.environ, FLAGS.isa)
    if case.contestant == "model_garden":
        python, environment["TF_USE_LEGACY_KERAS"] = FLAGS.model_garden_python or python, "1"
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [python, __file__, f"--case={json.dumps(dataclasses.asdict(case))}"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        print(f"{case.contestant}, {case.name}: {result.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(result.stdout.splitlines()[-1])


def installed(contestant: str) -> bool:
    if contestant == "model_garden" and FLAGS.model_garden_python:
        return True
    needed = {
        "transformers": ("torch", "transformers"),
        "keras_hub": ("keras_hub",),
        "model_garden": ("official", "tf_keras"),
    }.get(contestant, ())
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
                    able = [name for name in names if name in ABLE[kind]]
                    yield [Case(name, *common) for name in ("floor", *able)]


def parsed_shape(shape: str) -> tuple[int, int]:
    batch, _, length = shape.partition("x")
    if not (batch.isdigit() and length.isdigit() and 0 < int(length) <= 512):
        raise InputError(f"--shapes: expected batch x length such as 32x128, length up to 512, but got {shape!r}")
    return int(batch), int(length)


def compare(contestants: list[Case]) -> list[dict]:
    """All contestants in turn, `--rounds` times; medians, with each round's own floor."""
    rounds = [[measure_in_subprocess(case) for case in contestants] for _ in range(FLAGS.rounds)]
    rows = []
    for case, measured in zip(contestants, zip(*rounds, strict=True), strict=True):
        if None in measured:
            continue
        seconds = statistics.median(figure["seconds"] for figure in measured)
        row = dataclasses.asdict(case) | {
            "seconds": seconds,
            "examples_per_second": case.examples / seconds,
            "tokens_per_second": case.examples * case.length / seconds,
            "peak_mib": max(figure["peak_mib"] for figure in measured),
            "isa": FLAGS.isa,
            "gflops": flops_of(case) / seconds / 1e9,
        }
        shares = [
            floor["seconds"] / figure["seconds"] for (floor, *_), figure in zip(rounds, measured, strict=True) if floor
        ]
        row["share_of_floor"] = statistics.median(shares) if shares else None
        if "waiting_for_data" in measured[0]:
            row["waiting_for_data"] = statistics.median(figure["waiting_for_data"] for figure in measured)
        rows.append(row)
        show(row, case)
    return rows


def show(row: dict, case: Case) -> None:
    waiting = f", {row['waiting_for_data']:.2%} waiting for data" if "waiting_for_data" in row else ""
    speed = f"{row['tokens_per_second']:9,.0f} tokens/s"
    if case.kind in READING:
        speed = f"{row['examples_per_second']:9.2f} examples/s"
    print(
        f"{case.name:<36} {case.contestant:<13} {row['seconds'] * 1e3:9.1f} ms"
        f" {speed} {row['peak_mib']:7,.0f} MiB {row['gflops']:7,.0f} GFLOP/s"
        f" {row['share_of_floor'] or 0:6.2f} of the floor" + waiting,
        file=sys.stderr,
    )


def check_flags() -> None:
    known = (
        ("sizes", WIDTHS),
        ("precisions", ("float32", "bfloat16")),
        ("contestants", CONTESTANTS),
        ("passes", ABLE),
    )
    for flag, values in known:
        if wrong := set(FLAGS[flag].value) - set(values):
            raise InputError(f"--{flag}: expected some of {', '.join(values)}, but got {', '.join(sorted(wrong))}")


def is_results(path: str) -> bool:
    rows = files.read_json(path, list)
    return all(isinstance(row, dict) and {"contestant", "share_of_floor"} <= row.keys() for row in rows)


def is_figures(path: str) -> bool:
    return outputs.is_signed(path)


def measure_figures() -> dict:
    """`--all`: measures the stated figures again and writes them."""
    asked = figures.chosen(FLAGS.only)
    if not asked:
        raise InputError(f"--only={','.join(FLAGS.only)}: expected a part of a figure's name or place; see --dry_run")
    if FLAGS.dry_run:
        return {"figures": [{"name": x.name, "place": x.place, "command": " ".join(x.command)} for x in asked]}
    found, date = processor.this_processor(), time.strftime("%Y-%m-%d")
    path = FLAGS.output or figures.file_name(date, found)
    outputs.check_file(path, what="a file of figures of benchmark.py --all", is_ours=is_figures)
    table = figures.table_path(path)
    outputs.check_file(table, what="a table of benchmark.py --all", is_ours=lambda _: outputs.is_signed(path))
    tools = os.path.dirname(os.path.abspath(__file__))
    load = os.getloadavg()[0]
    rows = figures.Measurement(tools, os.environ.get("KOBERT_SHARED"), limited(os.environ, FLAGS.isa)).rows(asked)
    head = {
        "processor": found.name,
        "instruction sets": ", ".join(found.instruction_sets()) or "unknown",
        "limited to": FLAGS.isa,
        "cores": str(len(os.sched_getaffinity(0))),
        "date": date,
        "load before": f"{load:.1f}",
    }
    figures.write(path, outputs.signed(head, "benchmark --all"), rows)
    return {"output": path, "table": table, "missing": sum(row["value"] is None for row in rows), "figures": rows}


def main() -> dict:
    if FLAGS.case:
        return measure(Case(**json.loads(FLAGS.case)))
    check_flags()
    if FLAGS.isa == "avx2" and "bfloat16" in FLAGS.precisions and not FLAGS.all:
        raise InputError(
            "--isa=avx2: expected --precisions=float32 with it, but got bfloat16 too, which TensorFlow cannot compute "
            "with oneDNN limited to AVX2"
        )
    if FLAGS.isa != "native":
        limited(os.environ, FLAGS.isa)  # Raises before anything is measured.
        print(
            f"--isa={FLAGS.isa}: oneDNN, XLA, torch and MKL are limited; Eigen within TensorFlow and NumPy are not",
            file=sys.stderr,
        )
    if FLAGS.all:
        return measure_figures()
    if FLAGS.only or FLAGS.dry_run:
        raise InputError(f"--{'only' if FLAGS.only else 'dry_run'}: expected --all with it, but it was not given")
    if FLAGS.output:
        outputs.check_file(FLAGS.output, what="a file of results of benchmark.py", is_ours=is_results)
    results = [row for contestants in cases() for row in compare(contestants)]
    if FLAGS.output:
        files.write_json(FLAGS.output, results)
    return {"results": results}


if __name__ == "__main__":
    command_line.run(main)
