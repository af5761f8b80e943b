"""Checks a TPU run without a TPU: compiles the N-step program that training would run, and reports its costs.

The program is complete: forward and backward pass, clipping and optimizer in a loop of N steps, for one of the
replicas, with the all-reduces of gradients and metrics. By default XLA compiles one replica's part for the CPU, which
verifies that every operation has an XLA kernel and every shape is static. With `tpu_compiler`, the TPU's own compiler,
libtpu, compiles the program for all cores of the topology (`kobert_tf2/tpu`), so that whether it compiles and fits in
memory is the compiler's result, not an estimate. Neither uses a TPU.
"""

import dataclasses
import math
import sys
from collections.abc import Callable

import keras
import tensorflow as tf

from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.tasks import start
from kobert_tf2.tpu import compiler, hlo, program, topologies
from kobert_tf2.tpu.topologies import Topology
from kobert_tf2.training import loop, steps, tuning
from kobert_tf2.training.job import TrainingJob
from kobert_tf2.training.settings import EpochTaskSettings, TaskSettings, TuningSettings

_GIB, _MIB = 1 << 30, 1 << 20
_UTILISATION = 0.4
_LARGEST = 5
# libtpu 0.0.42.1 fuses operations and recomputes what it does not store. In bfloat16 at length 128, its temporaries for
# 4 layers of 256 (v3) and 12 layers of 768 (v3, v5e) were the gradients plus what these factors give, within 2 %.
_KEPT, _COPIES_OF_LOGITS = 0.27, 4.5
_SOME_STEPS = 1000  # The number of steps of a run without data; it does not affect the program.
USUAL_VOCABULARY = 32_000  # For a run without data, if the configuration has no vocab_size.
_LANES = 128  # On a TPU the innermost axis of an array is padded to a multiple of this.
_UNPROVED = "the run on hardware: TensorFlow's own bridge to it and its versions there, speed, infeed"
_UNPROVED_BY_XLA = f"compilation by libtpu (--tpu_compiler), the all-reduces, {_UNPROVED}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreflightSettings:
    """The settings of a preflight; the fields are flags of the training tools.

    Attributes:
      tpu_topology: a name such as v3-8 (see `topologies.find`), or several separated by commas.
      tpu_compiler: whether libtpu compiles the program.
      preflight_timeout: the time limit of one libtpu compilation in seconds.
    """

    tpu_topology: str = "v3-8"
    tpu_compiler: bool = False
    preflight_timeout: int = 1800


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """The run to check: training or, without `training`, the forward pass of prediction and evaluation.

    Attributes:
      model: the model to train or to predict with.
      training: the optimizer and the task, as passed to `loop.train`.
      batch: {feature: spec [global batch, ...]}.
      batch_flag: the flag for the number of rows in a global batch.
      iterations_per_loop: steps in one call of the compiled program.
      micro_batch_size: rows of a replica whose gradients are computed at once; None: all.
    """

    model: keras.Model
    training: tuple[keras.optimizers.Optimizer, steps.Task] | None
    batch: dict[str, tf.TensorSpec]
    batch_flag: str = "train_batch_size"
    iterations_per_loop: int = 1
    micro_batch_size: int | None = None

    @classmethod
    def to_train(
        cls,
        settings: TaskSettings,
        model: Callable[[], keras.Model],
        task: steps.Task,
        features: dict[str, tuple],
        schedule: dict,
    ) -> "PlannedRun":
        """The training run of these settings, set up as by the tools; `features` is {name: (shape of a row, dtype)}."""
        job = TrainingJob(dataclasses.replace(settings, do_train=True), tf.distribute.get_strategy())
        made = job.make(model)
        if isinstance(settings, TuningSettings):
            task = tuning.with_label_smoothing(task, settings.label_smoothing)
        batch = _specs(features, settings.train_batch_size)
        return cls(
            model=made,
            training=(job.optimizer(**schedule), task),
            batch=batch,
            iterations_per_loop=loop.steps_in_a_call(settings.iterations_per_loop, batch),
            micro_batch_size=settings.micro_batch_size,
        )

    @classmethod
    def to_ask(cls, model: keras.Model, features: dict[str, tuple], rows: int, batch_flag: str) -> "PlannedRun":
        """The forward pass over a batch of this many rows."""
        return cls(model=model, training=None, batch=_specs(features, rows), batch_flag=batch_flag)

    @property
    def rows(self) -> int:
        return next(iter(self.batch.values())).shape[0]

    def lower(self, replicas: int, rows: int) -> program.Lowered:
        """The program of one of this many replicas, for a global batch of `rows`."""
        batch = {name: tf.TensorSpec([rows, *x.shape[1:]], x.dtype, name=name) for name, x in self.batch.items()}
        if self.training is None:
            return program.lower_forward(self.model, batch, replicas=replicas)
        optimizer, task = self.training
        return program.lower_training(
            self.model,
            optimizer,
            task,
            batch,
            replicas=replicas,
            iterations=self.iterations_per_loop,
            micro_batch_size=self.micro_batch_size,
        )


def _specs(features: dict[str, tuple], rows: int) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([rows, *shape], dtype) for name, (shape, dtype) in features.items()}


def preflight(run: PlannedRun, settings: PreflightSettings) -> dict:
    """Compiles the program, prints the findings to stderr and returns the report.

    For one topology, returns that topology's report, and raises `InputError` after printing it if a TPU could not run
    the program: the batch is not divisible, an operation has no kernel, a shape is not static, or memory is
    insufficient (then with a setting that fits). For several topologies, returns {"topologies": {name: report}}, with
    such a message under "refused".
    """
    names = [name.strip() for name in settings.tpu_topology.split(",") if name.strip()] or [settings.tpu_topology]
    found = [topologies.find(name) for name in names]
    if settings.tpu_compiler and (missing := compiler.what_is_missing()):
        raise InputError(missing)
    if len(found) == 1:
        return _preflight(run, found[0], settings)
    reports = {}
    for topology in found:
        try:
            reports[topology.name] = _preflight(run, topology, settings)
        except InputError as error:
            reports[topology.name] = {"refused": str(error)}
            print(f"  {error}", file=sys.stderr)
    print(table(reports), file=sys.stderr)
    return {"topologies": reports}


def _preflight(run: PlannedRun, topology: Topology, settings: PreflightSettings) -> dict:
    rows = _rows_of_a_core(run, topology)
    replicas = topology.cores if settings.tpu_compiler else 1
    lowered = run.lower(replicas, rows * replicas)
    source = hlo.survey(hlo.parse(lowered.text()))
    _refuse_what_has_no_kernel(source, lowered)
    report = _counted(run, topology, rows, source)
    if settings.tpu_compiler:
        report |= _compiled(run, lowered, source, topology, settings.preflight_timeout)
        report.pop("steps_per_second_at_40_percent_of_peak")  # Replaced by the roofline bound.
        _compare_estimate(report)
    else:
        lowered.compile_for_cpu()
    _show(report)
    if not report["fits"]:
        way_out = "lower --micro_batch_size or --train_batch_size" if run.training else f"lower --{run.batch_flag}"
        if settings.tpu_compiler and run.training:
            way_out = _what_would_fit(run, rows, topology, settings.preflight_timeout)
        raise InputError(f"{_does_not_fit(report, topology)}; {way_out}")
    return report


def table(reports: dict[str, dict]) -> str:
    """The reports of several topologies as a Markdown table, as in the README."""
    lines = [
        "| TPU | rows a core | GiB of a core | of | all-reduces | % of bytes in products | at most, steps a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, report in reports.items():
        compiled = report.get("memory_per_core_gib_by_the_compiler")
        if "refused" in report or not compiled:
            lines.append(f"| {name} | {report.get('refused', 'not compiled by the TPU compiler')} |")
            continue
        lines.append(
            f"| {name} | {report['rows_per_core']} | {compiled['total']:.2f} | {report['memory_available_gib']} | "
            f"{report['all_reduces']['compiled']} of {report['all_reduces']['asked']} | "
            f"{report['percent_of_bytes_in_matrix_products']} | {report['steps_per_second_upper_bound']:,.1f} |"
        )
    return "\n".join(lines)


def of_fine_tuning(
    model_class: Callable[..., keras.Model],
    task: steps.Task,
    settings: EpochTaskSettings,
    asked: PreflightSettings,
    *,
    targets: dict[str, list[int]],
    lengths_vary: bool,
) -> dict:
    """The preflight of a fine-tuning tool. It needs no data: it assumes the longest rows and a head with few labels.

    `targets` is {label feature: shape per row}, int32. If batch lengths vary, each call executes one step and there is
    one program per length; the longest is checked. For a run that only predicts or evaluates, it is the forward pass.
    """
    loop.set_precision(settings.precision)
    source = settings.bert_config_file or settings.init_checkpoint
    config = start.find_config(settings.bert_config_file, settings.init_checkpoint, vocab_size=USUAL_VOCABULARY)
    length = settings.max_seq_length
    start.check_fits(config, source, vocab_size=config.vocab_size, max_seq_length=length)
    features: dict[str, tuple] = dict.fromkeys(("input_ids", "input_mask", "segment_ids"), ([length], tf.int32))
    if not settings.do_train and (settings.do_predict or getattr(settings, "do_eval", False)):
        return preflight(
            PlannedRun.to_ask(model_class(config), features, settings.predict_batch_size, "predict_batch_size"), asked
        )
    features |= {name: (shape, tf.int32) for name, shape in targets.items()}
    if lengths_vary:
        features["example_weight"] = ([], tf.float32)
    run = PlannedRun.to_train(settings, lambda: model_class(config), task, features, settings.schedule(_SOME_STEPS))
    if lengths_vary:
        run = dataclasses.replace(run, iterations_per_loop=1)
    return preflight(run, asked)


def _rows_of_a_core(run: PlannedRun, topology: Topology) -> int:
    rows, cores = run.rows, topology.cores
    if rows < cores:
        raise InputError(
            f"--{run.batch_flag}={rows}: too few rows for the {cores} cores of {topology.name}; give a multiple of it"
        )
    if rows % cores:
        raise InputError(f"--{run.batch_flag}={rows} cannot be divided among the {cores} cores of {topology.name}")
    steps.micro_batches(rows // cores, run.micro_batch_size)
    return rows // cores


def _refuse_what_has_no_kernel(source: hlo.Program, lowered: program.Lowered) -> None:
    found = [f"{what}, at {lowered.place(at)}" if at else what for what, at in source.foreign.items()]
    dynamic = [f"the shape of {lowered.place(at) if at else what} is not static" for what, at in source.dynamic.items()]
    if dynamic or found:
        raise InputError(f"the program compiles, but not for a TPU: {'; '.join([*dynamic[:_LARGEST], *found])}")


def _show(report: dict) -> None:
    """Prints the findings to stderr, one per line; the numbers of a run that fits are shown by the tool."""
    for name, value in report.items():
        if isinstance(value, list):
            for line in value:
                print(f"  {name}: {line}", file=sys.stderr)
        elif isinstance(value, str) or not report["fits"]:
            print(f"  {name}: {value}", file=sys.stderr)


# ----------------------------------------------------------------------------------------------------------------------
# What the source program and the TPU compiler say
# ----------------------------------------------------------------------------------------------------------------------


def _counted(run: PlannedRun, topology: Topology, rows: int, source: hlo.Program) -> dict:
    """The findings from the program before compilation."""
    flops = source.flops * steps.micro_batches(rows, run.micro_batch_size) * topology.cores
    memory = _estimated_memory(run, run.micro_batch_size or rows)
    book = {"flops_per_step_by_the_book": expected_flops(run.model.config, run.batch)} if _pretrains(run) else {}
    return {
        "topology": topology.name,
        "cores": topology.cores,
        "rows_per_core": rows,
        "steps_in_one_call": run.iterations_per_loop,
        "compiled": True,
        "dynamic_shapes": list(source.dynamic),
        "without_a_tpu_kernel": list(source.foreign),
        "operations": source.operations,
        "operations_in_emulated_64_bit_integers": source.emulated,
        "flops_per_step": flops,
        **book,
        "memory_per_core_gib": {name: round(size / _GIB, 3) for name, size in memory.items()},
        "memory_of_a_core_gib": topology.memory,
        "fits": sum(memory.values()) < topology.available * _GIB,
        "steps_per_second_at_40_percent_of_peak": _UTILISATION * topology.peak * 1e12 * topology.cores / flops,
        "not_verified": _UNPROVED_BY_XLA,
    }


def _compiled(
    run: PlannedRun, lowered: program.Lowered, source: hlo.Program, topology: Topology, timeout: float
) -> dict:
    """The TPU compiler's findings; with "fits": False if the program needs too much memory."""
    serialized = lowered.hlo()
    try:
        found = compiler.compile_program(serialized, topology, topology.cores, timeout=timeout)
    except compiler.CompilationError as failed:
        if not failed.is_for_memory:
            raise InputError(f"{failed}{_where(failed.message, lowered)}") from failed
        return {"fits": False, "compiler_says": compiler.first_sentence(failed.message), "not_verified": _UNPROVED}
    module = hlo.parse(found.hlo)
    micro_batches = steps.micro_batches(run.rows // topology.cores, run.micro_batch_size)
    step = hlo.step_of(module, inner_repeats=max(1, micro_batches - 1))
    arguments = hlo.arguments(module)
    return {
        "fits": found.memory_used <= topology.available * _GIB,
        "memory_per_core_gib_by_the_compiler": _in_gib({**found.memory, "total": found.memory_used}),
        "memory_available_gib": topology.available,
        "largest_arrays": _largest(module, lowered),
        "padding_of_arguments_mib": round(sum(x.padded_size - x.size for x in arguments) / _MIB, 1),
        "all_reduces": {"asked": source.all_reduces, "compiled": step.all_reduces},
        "all_reduced_mib": round(step.all_reduce_bytes / _MIB, 1),
        **_float32_products(step, lowered),
        "host_transfers": [lowered.place(name) for name in step.host_transfers],
        "transposes": {"count": step.transposes, "mib": round(step.transpose_bytes / _MIB, 1), "pads": step.pads},
        "bytes_per_step": step.bytes_moved,
        "percent_of_bytes_in_matrix_products": step.percent_in_products,
        **_roofline(source.flops * micro_batches, step.bytes_moved, topology),
        "program_mib": round(len(serialized) / _MIB, 2),
        "compiler_seconds": round(found.seconds, 1),
        "compiler_cpu_seconds": round(found.cpu_seconds, 1),
        "compiled_without_network": found.isolated,
        "advice": _advice(run, step),
        "not_verified": _UNPROVED,
    }


def _compare_estimate(report: dict) -> None:
    """Adds the difference between our memory estimate and the compiler's result."""
    found = report.get("memory_per_core_gib_by_the_compiler")
    if found and found["total"]:
        estimate = sum(report["memory_per_core_gib"].values())
        report["memory_estimate_error_percent"] = round(100 * (estimate / found["total"] - 1))


def _in_gib(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / _GIB, 3) for name, size in sizes.items()}


def _where(message: str, lowered: program.Lowered) -> str:
    """A suffix for the compiler's message: the source line of the first of our operations that it names."""
    named = next(
        (name for name in sorted(lowered.places, key=len, reverse=True) if name in message and "/" in name), ""
    )
    return f"; at {lowered.place(named)}" if named else ""


def _float32_products(step: hlo.Step, lowered: program.Lowered) -> dict:
    """The places of float32 matrix products in a bfloat16 run; those of the small heads are intended."""
    if keras.config.dtype_policy().compute_dtype == "float32":
        return {}
    return {"float32_products": [lowered.place(name) for name in step.float32_products]}


def _largest(module: hlo.Module, lowered: program.Lowered) -> list[str]:
    """The largest arrays of a step and of the program's arguments, by our names; identical ones are counted."""
    given = list(zip(hlo.arguments(module), lowered.arguments, strict=False))
    computed = [(shape, lowered.place(name)) for name, shape in hlo.largest_results(module, 4 * _LARGEST) if name]
    found: dict[tuple, list[str]] = {}
    for shape, name in sorted(given + computed, key=lambda pair: -pair[0].padded_size):
        found.setdefault((shape.padded_size, shape.dtype, shape.dims), []).append(name)
    return [
        f"{size / _MIB:,.1f} MiB, {dtype}{list(dims)}: {names[0]}"
        + (f" and {len(names) - 1} like it, such as {names[-1]}" if len(names) > 1 else "")
        for (size, dtype, dims), names in list(found.items())[:_LARGEST]
    ]


def _roofline(flops: int, moved: int, topology: Topology) -> dict:
    """A lower bound of a step's time from the chip's published peaks; no program reaches both at once."""
    compute, memory = flops / (topology.peak * 1e12), moved / (topology.bandwidth * 1e9)
    return {
        "roofline_milliseconds": {"products": round(compute * 1e3, 3), "memory": round(memory * 1e3, 3)},
        "steps_per_second_upper_bound": round(1 / max(compute, memory), 2),
    }


def _advice(run: PlannedRun, step: hlo.Step) -> list[str]:
    advice = []
    sizes = {"vocab_size": run.model.config.vocab_size} if _pretrains(run) else {}
    sizes["max_seq_length"] = run.batch["input_ids"].shape[1]
    arrays = {"vocab_size": "the logits", "max_seq_length": "the attention scores"}
    for name, size in sizes.items():
        if waste := -size % _LANES:
            advice.append(
                f"{name} {size}: the chip pads {arrays[name]} to {size + waste}, {100 * waste / size:.0f} % more "
                f"memory for them; a multiple of {_LANES} takes none"
            )
    if step.host_transfers:
        advice.append("the loop exchanges data with the host: each exchange stops the chip")
    return advice


# ----------------------------------------------------------------------------------------------------------------------
# What would fit
# ----------------------------------------------------------------------------------------------------------------------


def _does_not_fit(report: dict, topology: Topology) -> str:
    if "compiler_says" in report:
        return f"{topology.name}: {report['compiler_says'].rstrip('.')}"
    compiled = report.get("memory_per_core_gib_by_the_compiler")
    total = compiled["total"] if compiled else sum(report["memory_per_core_gib"].values())
    about = "" if compiled else "about "
    return f"{topology.name}: the run takes {about}{total:.2f} GiB of a core, which has {topology.available} to give"


def _what_would_fit(run: PlannedRun, rows: int, topology: Topology, timeout: float) -> str:
    """The largest --micro_batch_size that fits according to the TPU compiler, and its memory use and largest arrays."""
    reports: dict[int, dict] = {}

    def fits(size: int) -> bool:
        smaller = dataclasses.replace(run, micro_batch_size=size)
        lowered = smaller.lower(topology.cores, run.rows)
        source = hlo.survey(hlo.parse(lowered.text()))
        reports[size] = _compiled(smaller, lowered, source, topology, timeout)
        print(f"  --micro_batch_size={size}: {'fits' if reports[size]['fits'] else 'does not fit'}", file=sys.stderr)
        return reports[size]["fits"]

    size = largest_that(fits, [n for n in range(1, run.micro_batch_size or rows) if rows % n == 0])
    if size is None:
        return "no --micro_batch_size fits: take a smaller model or a TPU with more memory"
    total = reports[size]["memory_per_core_gib_by_the_compiler"]["total"]
    largest = "; ".join(reports[size]["largest_arrays"])
    return f"--micro_batch_size={size} fits with {total:.2f} GiB, its largest arrays: {largest}"


def largest_that(fits: Callable[[int], bool], sizes: list[int]) -> int | None:
    """The largest of the ascending `sizes` that fits, by bisection; None if none does."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            low = middle + 1
        else:
            high = middle
    return sizes[low - 1] if low else None


# ----------------------------------------------------------------------------------------------------------------------
# Counting without compiling
# ----------------------------------------------------------------------------------------------------------------------


def _pretrains(run: PlannedRun) -> bool:
    return run.training is not None and "masked_lm_ids" in run.batch


def expected_flops(config: BertConfig, batch: dict) -> int:
    """FLOPs of a pre-training step's matrix products by the usual formula: forward, plus twice that for backward. The
    last layer is computed only at the first token and the masked positions.
    """
    rows, length = batch["input_ids"].shape
    predictions = batch["masked_lm_ids"].shape[1]
    layers = (config.num_hidden_layers - 1) * _layer_flops(config, rows, length, length)
    layers += _layer_flops(config, rows, 1 + predictions, length)
    width, masked = config.hidden_size, rows * predictions
    heads = 2 * rows * width * (width + 2) + 2 * masked * width * (width + config.vocab_size)
    return 3 * (layers + heads)


def _layer_flops(config: BertConfig, rows: int, queries: int, length: int) -> int:
    """The forward FLOPs with this many query positions per row, each attending to all `length` positions."""
    width, inner = config.hidden_size, config.intermediate_size
    of_all, of_queries = 2 * width * width, 2 * width * width + 2 * width * inner
    return 2 * rows * (length * of_all + queries * of_queries + 2 * queries * length * width)


def _estimated_memory(run: PlannedRun, rows: int) -> dict[str, float]:
    """Bytes per core, without the code; activations are estimated."""
    parameters = sum(math.prod(v.shape) * 4 for v in run.model.variables)
    batches = sum(run.iterations_per_loop * math.prod(x.shape) * 4 for x in run.batch.values())
    if run.training is None:
        layer = _activations(run.model.config, run.batch, rows) / run.model.config.num_hidden_layers
        return {"parameters": parameters, "batches": batches, "activations of a layer (estimated)": layer}
    optimizer, _ = run.training
    optimizer.build(run.model.trainable_variables)
    return {
        "parameters": parameters,
        "optimizer": sum(math.prod(v.shape) * 4 for v in optimizer.variables),
        "gradients": parameters,
        "batches": batches,
        "activations (estimated)": _activations(run.model.config, run.batch, rows),
    }


def _activations(config: BertConfig, batch: dict, rows: int) -> float:
    """Korthikanti et al. 2022, "Reducing Activation Recomputation", eq. 2, times the fraction that the TPU compiler
    keeps.
    """
    length = batch["input_ids"].shape[1]
    bytes_a_number = 2 if keras.config.dtype_policy().compute_dtype == "bfloat16" else 4
    layer = rows * length * (17 * config.hidden_size + 2.5 * config.num_attention_heads * length)
    logits = rows * batch["masked_lm_ids"].shape[1] * config.vocab_size if "masked_lm_ids" in batch else 0
    return _KEPT * layer * bytes_a_number * config.num_hidden_layers + _COPIES_OF_LOGITS * 4 * logits
