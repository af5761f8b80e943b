"""The process of the TPU compiler: what stands in its way is a sentence. The compiler itself is asked at the end."""

import concurrent.futures
import pathlib
import time

import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.tasks import preflight
from kobert_tf2.tpu import compiler, topologies
from kobert_tf2.training import optimizers

V5E, V3 = topologies.find("v5e-1"), topologies.find("v3-8")


def test_the_extra_pins_the_versions_that_were_tried():
    setup = (pathlib.Path(__file__).resolve().parents[2] / "setup.cfg").read_text(encoding="utf-8")
    extra = setup.partition("\ntpu_compiler =\n")[2].partition("\n\n")[0]
    assert extra.split() == [f"{name}=={version}" for name, version in compiler.VERSIONS.items()]


def test_what_is_missing_or_of_another_version_is_named_with_the_command_that_brings_it():
    assert compiler.mismatch(dict(compiler.VERSIONS)) is None
    for name, version in compiler.VERSIONS.items():
        missing = compiler.mismatch(compiler.VERSIONS | {name: None})
        assert missing == f"the TPU compiler needs {name}=={version}, which is not installed: {compiler.INSTALL}"
        other = compiler.mismatch(compiler.VERSIONS | {name: "9.9"})
        assert f"tried with jax=={compiler.VERSIONS['jax']}" in other
        assert f"but {name} here is 9.9: {compiler.INSTALL}" in other


def test_a_python_that_does_not_run_is_named(monkeypatch):
    monkeypatch.setenv(compiler.PYTHON_VARIABLE, "/no/such/python")
    assert compiler.what_is_missing().startswith(f"{compiler.PYTHON_VARIABLE}=/no/such/python: expected a Python")


def fake_python(tmp_path, monkeypatch, script: str) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv(compiler.PYTHON_VARIABLE, str(path))


def test_a_compiler_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(InputError, match="--preflight_timeout=1: the TPU compiler was not done"):
        compiler.compile_program(b"", V5E, 1, timeout=1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline, "what the compiler started still runs"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_compiler_that_dies_is_reported_with_its_last_words(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, "echo 'F0000 a check failed' >&2; kill -9 $$")
    with pytest.raises(InputError, match="ended without an answer; its last words: F0000 a check failed"):
        compiler.compile_program(b"", V5E, 1)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM.\nMore", "Ran out of memory on HBM."),
        ("\n\nINTERNAL: Mosaic failed: x", "Mosaic failed: x"),
        ("no status: here", "no status: here"),
        ("", "no message"),
    ],
)
def test_the_first_sentence_of_a_message(message, sentence):
    assert compiler.first_sentence(message) == sentence


# ----------------------------------------------------------------------------------------------------------------------
# The TPU compiler
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def libtpu():
    """Skips where the TPU compiler is not installed; $KOBERT_TPU_COMPILER_PYTHON may name a Python that has it."""
    if missing := compiler.what_is_missing():
        pytest.skip(missing)


@pytest.fixture(scope="module")
def run():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1)
    batch = {name: tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for name, x in training_runs.features(16).items()}
    return preflight.PlannedRun(
        model=model, training=(optimizer, training_runs.task()), batch=batch, iterations_per_loop=5
    )


@pytest.mark.parametrize("name", ["v3-8", "v5e-1"])
def test_the_program_of_all_replicas_compiles_with_one_all_reduce(libtpu, run, name, capsys):
    settings = preflight.PreflightSettings(tpu_topology=name, tpu_compiler=True, preflight_timeout=300)
    report = preflight.preflight(run, settings)
    variables = len(run.model.trainable_variables)
    several = name == "v3-8"
    assert report["all_reduces"] == {"asked": (variables + 1) * several, "compiled": int(several)}
    memory = report["memory_per_core_gib_by_the_compiler"]
    assert 0 < memory["total"] < 0.1
    assert memory["aliased"] <= memory["arguments"]
    assert report["host_transfers"] == []
    assert report["compiled_without_network"]
    assert report["steps_per_second_upper_bound"] > 0
    assert any("(kobert_tf2/" in line for line in report["largest_arrays"])
    assert f"  largest_arrays: {report['largest_arrays'][0]}\n" in capsys.readouterr().err


def test_what_cannot_fit_is_reported_with_the_micro_batch_that_does(libtpu, run, monkeypatch):
    """Memory is short from here on: the compiler is as it is, but says that two rows are too many."""
    compile_program = compiler.compile_program

    def scarce(serialized, topology, replicas, *, timeout):
        found = compile_program(serialized, topology, replicas, timeout=timeout)
        if b"while/while" not in serialized:
            raise compiler.CompilationError("RESOURCE_EXHAUSTED: Ran out of memory on HBM (46.2G).")
        return found

    monkeypatch.setattr(compiler, "compile_program", scarce)
    settings = preflight.PreflightSettings(tpu_topology="v3-8", tpu_compiler=True)
    with pytest.raises(InputError, match=r"v3-8: Ran out of memory on HBM \(46.2G\); --micro_batch_size=1 fits with 0"):
        preflight.preflight(run, settings)


@pytest.mark.slow
def test_a_batch_that_the_compiler_refuses_is_reported_with_the_one_that_it_takes(libtpu, run):
    """The logits of a usual vocabulary are too large for a core, and half of them once more, and so on."""
    config = training_runs.config().to_dict() | {"vocab_size": 32_000}
    model = models.BertForPreTraining(models.BertConfig(**config))
    optimizer = optimizers.create_optimizer(learning_rate=1e-4, num_train_steps=10)
    batch = {name: tf.TensorSpec([1 << 16, *x.shape[1:]], x.dtype) for name, x in run.batch.items()}
    large = preflight.PlannedRun(model=model, training=(optimizer, run.training[1]), batch=batch)
    settings = preflight.PreflightSettings(tpu_topology="v5e-1", tpu_compiler=True)
    fits = r"v5e-1: .*memory.*; --micro_batch_size=\d\d+ fits with \d+\.\d+ GiB, its largest arrays: .*masked_lm"
    with pytest.raises(InputError, match=fits):
        preflight.preflight(large, settings)


def test_two_compilations_run_beside_each_other(libtpu, run):
    lowered = run.lower(1, 2).hlo()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: compiler.compile_program(lowered, V5E, 1, timeout=300), range(2)))
    assert found[0].memory == found[1].memory


def test_a_program_that_is_none_is_refused_by_the_compiler(libtpu):
    with pytest.raises(compiler.CompilationError, match="the TPU compiler refuses the program: "):
        compiler.compile_program(b"this is no program", V5E, 1, timeout=120)


def test_a_forward_pass_compiles_for_all_cores_without_an_all_reduce(libtpu, run):
    inputs = {name: ([x.shape[1]], x.dtype) for name, x in run.batch.items() if name in run.training[1].inputs}
    asked = preflight.PlannedRun.to_ask(run.model, inputs, 8, "predict_batch_size")
    settings = preflight.PreflightSettings(tpu_topology="v3-8", tpu_compiler=True, preflight_timeout=300)
    report = preflight.preflight(asked, settings)
    assert report["all_reduces"] == {"asked": 0, "compiled": 0}
    assert 0 < report["memory_per_core_gib_by_the_compiler"]["total"] < 0.1
