"""A killed run resumes as if it had not been interrupted; incomplete checkpoints are skipped."""

import dataclasses
import functools
import json
import pathlib
import random
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.training import checkpoints, loop
from kobert_tf2.training.settings import TaskSettings

STEPS = 12
train = functools.partial(training_runs.run, tf.distribute.get_strategy(), dropout=0.2, num_steps=STEPS, tiny=True)


def assert_identical(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def state(result: dict) -> dict:
    """Weights, slots and the step: what a run ends with, without what was noted on the way."""
    return {name: x for name, x in result.items() if name not in ("losses", "norms")}


def log_of(folder) -> list[dict]:
    lines = (pathlib.Path(folder) / "train_log.jsonl").read_text().splitlines()
    return [{name: x for name, x in json.loads(line).items() if name != "tokens_per_second"} for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return train(output_dir=str(folder)), log_of(folder)


class _Crash(BaseException):
    """Stands in for SIGKILL within one process: nothing of ours catches it."""


# -- killed and resumed -----------------------------------------------------------------------------------------------


def _crash_at_step(monkeypatch, step: int):
    original = loop.steps.TrainSteps.compiled
    made = iter(range(step))

    def compiled(self, batches):
        if next(made, None) is None:
            raise _Crash
        return original(self, batches)

    monkeypatch.setattr(loop.steps.TrainSteps, "compiled", compiled)


def _crash_before_the_rename(monkeypatch, step: int):
    rename = checkpoints.os.rename

    def crash(source, target):
        if target.endswith(f"{step:08d}"):
            raise _Crash
        rename(source, target)

    monkeypatch.setattr(checkpoints.os, "rename", crash)


def _crash_after_the_variables(monkeypatch, step: int):
    checksums = checkpoints._checksums

    def crash(folder):
        if f"{step:08d}" in folder:
            raise _Crash
        return checksums(folder)

    monkeypatch.setattr(checkpoints, "_checksums", crash)


@pytest.mark.parametrize(
    ("crash", "step", "resumed_from"),
    [
        (_crash_at_step, 2, 0),
        (_crash_at_step, 9, 8),
        (_crash_before_the_rename, 8, 4),
        (_crash_after_the_variables, 4, 0),
        (_crash_before_the_rename, STEPS, 8),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(crash, step, resumed_from, undisturbed, tmp_path, monkeypatch):
    run = functools.partial(train, output_dir=str(tmp_path), save_checkpoints_steps=4, iterations_per_loop=1)
    with monkeypatch.context() as patch:
        crash(patch, step)
        with pytest.raises(_Crash):
            run()
    assert max(checkpoints.steps_in(f"{tmp_path}/checkpoints"), default=0) == resumed_from
    result = run()
    assert len(result["losses"]) == STEPS - resumed_from, "it must go on, not start anew"
    assert_identical(state(undisturbed[0]), state(result))
    assert log_of(tmp_path) == undisturbed[1]


def _killed(folder, strategy: str, moments: list, num_steps: int) -> dict:
    """Kills the run at each moment, a (line that it says, seconds after it), and lets it end after the last."""
    kwargs = {"num_steps": num_steps, "save_checkpoints_steps": 3, "iterations_per_loop": 2}
    for said, seconds in moments:
        process = training_runs.start(strategy, folder, {"killed": kwargs})
        for line in process.stdout:
            if line.startswith(said):
                break
        try:
            process.wait(seconds)
        except training_runs.subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    training_runs.finish(training_runs.start(strategy, folder, {"killed": kwargs}))
    return dict(np.load(f"{folder}/killed.npz"))


def _compare_with_undisturbed(tmp_path, strategy: str, moments: list, num_steps: int) -> None:
    plain, disturbed = tmp_path / "plain", tmp_path / "disturbed"
    plain.mkdir()
    disturbed.mkdir()
    expected = _killed(plain, strategy, [], num_steps)
    assert_identical(expected, _killed(disturbed, strategy, moments, num_steps))
    assert log_of(plain) == log_of(disturbed)


def test_sigkill_inside_a_checkpoint_write(tmp_path):
    _compare_with_undisturbed(tmp_path, "one_device", [("writing", 0.02)], num_steps=8)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_sigkill_at_twenty_random_moments(strategy, tmp_path):
    draw = random.Random(20261122)
    moments = [("writing", draw.random() * 0.1) for _ in range(7)]
    moments += [("step", draw.random() * 1.5) for _ in range(10)]
    moments += [("evaluating", draw.random() * 0.5) for _ in range(2)] + [("training", 0.0)]
    draw.shuffle(moments)
    _compare_with_undisturbed(tmp_path, strategy, moments, num_steps=120)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_a_signal_saves_and_ends_with_its_own_status(number, name, undisturbed, tmp_path, capfd):
    before = signal.getsignal(number)

    def ask_to_stop(step, record):
        if step == 5:
            signal.raise_signal(number)
            if number == signal.SIGINT:
                assert signal.getsignal(number) is signal.SIG_DFL, "a second one must end it at once"

    run = functools.partial(train, output_dir=str(tmp_path), iterations_per_loop=1)
    with pytest.raises(loop.Stopped) as stopped:
        run(on_record=ask_to_stop)
    assert (stopped.value.step, stopped.value.code) == (5, 128 + number)
    assert f"{name}: saved at step 5; the same command goes on from there" in capfd.readouterr().err
    assert signal.getsignal(number) is before
    assert_identical(state(undisturbed[0]), state(run()))
    assert log_of(tmp_path) == undisturbed[1]


def test_a_run_that_saves_nothing_is_interrupted_as_any_program(monkeypatch):
    def interrupt(step, record):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(on_record=interrupt)


def test_an_ignored_ctrl_c_stays_ignored(tmp_path):
    """A shell's script starts its background jobs so."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = train(output_dir=str(tmp_path), on_record=lambda *_: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(result["losses"]) == 0
    assert checkpoints.steps_in(f"{tmp_path}/checkpoints")[0] == STEPS


def test_a_checkpoint_is_written_too_when_the_last_one_is_so_many_minutes_old(undisturbed, tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 25))  # Each reading of the clock advances it by 25 seconds.
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    run = functools.partial(train, output_dir=str(tmp_path), iterations_per_loop=1, keep_checkpoints=99)

    def crash(step, record):
        if step == 9:
            raise _Crash

    with pytest.raises(_Crash):
        run(save_checkpoints_minutes=5.0, on_record=crash)
    saved = checkpoints.steps_in(f"{tmp_path}/checkpoints")
    assert saved
    assert max(saved) < 9
    assert_identical(state(undisturbed[0]), state(run(save_checkpoints_minutes=0.0)))
    assert set(checkpoints.steps_in(f"{tmp_path}/checkpoints")) == {*saved, STEPS}, "0 minutes: by steps alone"


# -- broken checkpoints -----------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    train(output_dir=str(tmp_path), save_checkpoints_steps=4, keep_checkpoints=2)
    return tmp_path / "checkpoints"


def test_only_the_newest_are_kept(saved):
    assert checkpoints.steps_in(str(saved)) == [12, 8]


def _flip_a_bit(folder):
    path = folder / "state.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(folder):
    path = folder / "state.index"
    path.write_bytes(path.read_bytes()[:-7])


def _remove_a_file(folder):
    (folder / "state.index").unlink()


def _cut_the_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:40])


@pytest.mark.parametrize("damage", [_flip_a_bit, _truncate, _remove_a_file, _cut_the_manifest])
def test_the_newest_broken_one_is_passed_over_with_a_warning(damage, saved, undisturbed, capfd):
    damage(saved / "step-00000012")
    result = train(output_dir=str(saved.parent), save_checkpoints_steps=4)
    said = capfd.readouterr().err
    assert "warning: passing over a broken checkpoint" in said
    assert "step-00000012" in said
    assert "resuming from" in said
    assert len(result["losses"]) == 4
    assert_identical(state(undisturbed[0]), state(result))


def test_a_run_that_is_done_says_how_to_go_on(saved, capfd):
    result = train(output_dir=str(saved.parent))
    assert len(result["losses"]) == 0
    said = capfd.readouterr().err
    assert "already at step 12" in said
    assert "--" not in said.partition("already at")[2], "who calls it from Python has no flags"
    of_tool = loop._already_done("out", 12, 12, TaskSettings(output_dir="out"))
    assert of_tool.endswith("start in a new --output_dir with --init_checkpoint=out/model")


def test_other_settings_are_refused_with_both_values(tmp_path):
    train(output_dir=str(tmp_path), num_steps=1, must_not_change={"train_batch_size": 8})
    with pytest.raises(InputError, match="train_batch_size=8, but now came 16"):
        train(output_dir=str(tmp_path), must_not_change={"train_batch_size": 16})


def test_a_checkpoint_of_another_optimizer_is_reported(saved):
    with pytest.raises(InputError, match="another model, optimizer or data pipeline"):
        train(output_dir=str(saved.parent), optimizer="adamw", num_steps=STEPS + 1)


def test_what_a_killed_write_left_is_cleared(saved):
    (saved / ".tmp-step-00000016-1").mkdir()
    (saved / ".tmp-step-00000016-1" / "state.index").write_bytes(b"half")
    train(output_dir=str(saved.parent), num_steps=STEPS + 1)
    assert not [path for path in saved.iterdir() if path.name.startswith(".tmp-")]


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_reported_and_earlier_checkpoints_stay(saved):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(InputError, match=r"step 13 could not be written .* is the disk full"):
            train(output_dir=str(saved.parent), num_steps=STEPS + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.steps_in(str(saved)) == [12, 8]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    original = training_runs.task

    def breaks_down(**kwargs):
        task = original(**kwargs)

        def sums(outputs, batch):
            terms, metrics = task.sums(outputs, batch)
            return {name: term * float("nan") for name, term in terms.items()}, metrics

        return dataclasses.replace(task, sums=sums)

    train(output_dir=str(tmp_path), num_steps=4)
    monkeypatch.setattr(training_runs, "task", breaks_down)
    with pytest.raises(InputError, match=r"not finite in step 5 \(steps 5 to \d+ were one call\).*is of step 4"):
        train(output_dir=str(tmp_path))
    assert checkpoints.steps_in(f"{tmp_path}/checkpoints") == [4]


def test_out_of_memory_says_which_flags_to_change(monkeypatch):
    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "failed to allocate 12 GiB")

    monkeypatch.setattr(loop.steps.TrainSteps, "compiled", lambda self, batches: exhausted)
    with pytest.raises(InputError, match=r"out of memory in step 1: set --micro_batch_size"):
        train()


@pytest.mark.parametrize("error", [tf.errors.UnavailableError, tf.errors.AbortedError])
def test_a_worker_that_is_gone_says_how_to_go_on(error, monkeypatch):
    def gone(*_):
        raise error(None, None, "Connection reset by peer")

    monkeypatch.setattr(loop.steps.TrainSteps, "compiled", lambda self, batches: gone)
    with pytest.raises(InputError, match=r"another worker is gone in step 1 \(Connection reset.*same command on all"):
        train()


def test_a_worker_that_goes_between_two_steps_is_reported_too(monkeypatch):
    def gone(*_, **__):
        raise tf.errors.UnavailableError(None, None, "{{node x}} Collective ops is aborted by: reset by peer\nAnd more")

    monkeypatch.setattr(loop, "num_workers", lambda strategy: 2)
    monkeypatch.setattr(type(tf.distribute.get_strategy()), "reduce", gone)
    with pytest.raises(InputError, match=r"another worker is gone between two steps \(reset by peer\); give"):
        train()
