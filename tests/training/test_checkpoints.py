"""A folder of checkpoints: they are complete and verified, and other files are never removed."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kobert_tf2 import outputs
from kobert_tf2.errors import InputError
from kobert_tf2.training import checkpoints as checkpoint_module
from kobert_tf2.training.checkpoints import Checkpoints


def write(path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def checkpoints(folder) -> Checkpoints:
    model = type("Model", (), {"name": "m", "variables": []})
    return Checkpoints(str(folder), model=model, keep=1)


def test_a_checkpoint_goes_file_by_file(tmp_path):
    saved = checkpoints(tmp_path)
    saved.save(1, {})
    (tmp_path / "step-00000001" / "notes.txt").write_text("mine")
    write(tmp_path / ".tmp-mine" / "a.txt", "mine")
    write(tmp_path / ".tmp-step-00000002-77" / "state.index", "half")
    write(tmp_path / ".tmp-step-00000002-77" / "state_temp" / "part-00000-of-00001.data", "half")
    saved.save(2, {})
    assert not (tmp_path / ".tmp-step-00000002-77").exists()
    assert outputs.files_in(str(tmp_path / "step-00000001")) == ["notes.txt"]
    assert (tmp_path / ".tmp-mine" / "a.txt").exists()
    with pytest.raises(InputError, match="step-00000001: holds files that are not of a checkpoint"):
        saved.save(1, {})
    saved.save(2, {"settings": {}})
    assert saved.newest_whole()["extra"] == {"settings": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"step": 2},
        {"step": "1"},
        {"sha256": ["state.index"]},
        {"sha256": {"../other": "x"}},
        {"extra": []},
        {"extra": {"settings": [1]}},
        {"extra": {"window": 3}},
    ],
)
def test_a_manifest_that_says_other_things_is_passed_over(tmp_path, capfd, change):
    saved = checkpoints(tmp_path)
    saved.save(1, {})
    path = tmp_path / "step-00000001" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert saved.newest_whole() is None
    assert "manifest.json: expected" in capfd.readouterr().err


class Owner:
    """What `named_variables` sees of a model."""

    def __init__(self, **values):
        self.name = "owner"
        self.variables = [_Variable(f"owner/{name}", tf.Variable(value)) for name, value in values.items()]


class _Variable:
    def __init__(self, path, value):
        self.path, self.value = path, value


def test_values_come_back_and_the_model_alone_too(tmp_path):
    model, optimizer = Owner(kernel=[1.0, 2.0]), Owner(m=[3.0])
    saved = Checkpoints(str(tmp_path), model=model, optimizer=optimizer, keep=2)
    saved.save(7, {"settings": {"seed": 1}})
    for owner in (model, optimizer):
        for variable in owner.variables:
            variable.value.assign(tf.zeros_like(variable.value))
    saved.restore_model(saved.newest_whole())
    assert (model.variables[0].value.numpy().tolist(), optimizer.variables[0].value.numpy().tolist()) == ([1, 2], [0])
    saved.restore(saved.manifest_of(7))
    np.testing.assert_array_equal(optimizer.variables[0].value, [3.0])
    with pytest.raises(InputError, match="step-00000008"):
        saved.manifest_of(8)


def test_two_variables_of_one_path_are_a_mistake_of_ours():
    owner = Owner(a=1.0)
    owner.variables *= 2
    with pytest.raises(ValueError, match="some share one"):
        checkpoint_module.named_variables(owner)


def test_the_newest_settings_are_read_without_the_weights(tmp_path):
    assert checkpoint_module.newest_settings(str(tmp_path / "none")) == {}
    saved = Checkpoints(str(tmp_path), model=Owner(a=1.0), keep=3)
    for step in (1, 2):
        saved.save(step, {"settings": {"seed": step}})
    (tmp_path / "step-00000002" / "state.index").unlink()
    assert checkpoint_module.newest_settings(str(tmp_path)) == {"seed": 2}
    (tmp_path / "step-00000002" / "manifest.json").write_text("{")
    assert checkpoint_module.newest_settings(str(tmp_path)) == {"seed": 1}
    (tmp_path / "step-00000001" / "manifest.json").write_text('{"extra": [1]}')
    assert checkpoint_module.newest_settings(str(tmp_path)) == {}


def test_the_steps_that_are_there_come_newest_first(tmp_path):
    for name in ("step-00000002", "step-00000010", "step-1", "other"):
        (tmp_path / name).mkdir()
    assert checkpoint_module.steps_in(str(tmp_path)) == [10, 2]
