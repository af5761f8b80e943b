"""The values that a resumed run must not change, and the error that names the difference."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from kobert_tf2 import kobert
from kobert_tf2.errors import InputError
from kobert_tf2.tasks import classify, pretrain, read, tag
from kobert_tf2.training import unchanging
from kobert_tf2.training.settings import LoopSettings, TaskSettings

SETTINGS = {
    "pretrain": pretrain.PretrainSettings,
    "finetune_mrc": read.FinetuneSettings,
    "finetune_classifier": classify.FinetuneSettings,
    "finetune_ner": tag.FinetuneSettings,
}
TABLES = (unchanging.BY_VALUE, unchanging.BY_CONTENT, unchanging.FREE)


def refused(saved: dict, now: dict, settings: object = None) -> str:
    saved = json.loads(json.dumps(saved))  # as stored in a manifest
    with pytest.raises(InputError) as error:
        unchanging.check(saved, now, place="out", settings=settings or TaskSettings(output_dir="out"))
    return str(error.value)


@pytest.mark.parametrize("tool", SETTINGS)
def test_every_flag_of_every_training_tool_is_in_one_table(tool):
    names = set(kobert.flags_of(ROOT / "tools" / f"{tool}.py"))
    missing = {name for name in names if sum(name in table for table in TABLES) != 1}
    assert not missing, "decide in training/unchanging.py whether these change what a training ends with"


@pytest.mark.parametrize("tool", SETTINGS)
def test_what_is_compared_by_its_value_is_a_field_of_the_settings(tool):
    fields = {field.name for field in dataclasses.fields(SETTINGS[tool])}
    assert set(kobert.flags_of(ROOT / "tools" / f"{tool}.py")) & unchanging.BY_VALUE <= fields


@pytest.mark.parametrize("tool", SETTINGS)
def test_each_flag_that_decides_the_result_is_refused_by_its_name_with_both_values(tool):
    begun = SETTINGS[tool](output_dir="out")
    saved = unchanging.flags_of(begun)
    unchanging.check(json.loads(json.dumps(saved)), saved, place="out", settings=begun)
    assert {"learning_rate", "seed", "optimizer", "train_batch_size", "precision"} <= saved.keys()
    for name, value in saved.items():
        other = "other" if isinstance(value, str | None) else not value if isinstance(value, bool) else 0
        now = unchanging.flags_of(dataclasses.replace(begun, **{name: other}))
        if now == saved:
            continue
        said = refused(saved, now, begun)
        assert f"--{name}" in said
        assert repr(other) in said
        assert value is None or repr(json.loads(json.dumps(value))) in said
        assert "another --output_dir (--init_checkpoint=out/model" in said


def test_the_number_of_steps_may_be_raised_and_nothing_else_may():
    begun = pretrain.PretrainSettings(output_dir="out", num_train_steps=100)
    saved = unchanging.flags_of(begun)
    more = dataclasses.replace(begun, num_train_steps=200)
    unchanging.check(saved, unchanging.flags_of(more), place="out", settings=more)
    fewer = dataclasses.replace(begun, num_train_steps=50)
    assert "has --num_train_steps=100, but now came 50" in refused(saved, unchanging.flags_of(fewer), fewer)
    reader = read.FinetuneSettings(output_dir="out", num_train_epochs=3.0)
    longer = dataclasses.replace(reader, num_train_epochs=4.0)
    assert "--num_train_epochs=3.0" in refused(unchanging.flags_of(reader), unchanging.flags_of(longer), longer)


def test_a_run_of_an_earlier_version_is_compared_by_what_it_saved():
    now = unchanging.flags_of(read.FinetuneSettings(output_dir="out", learning_rate=1.0))
    unchanging.check({"train_batch_size": 32, "seed": 0}, now, place="out", settings=None)
    assert "has --seed=1, but now came 0" in refused({"train_batch_size": 32, "seed": 1}, now)


def test_where_there_are_no_flags_none_is_advised():
    assert refused({"rows": 1}, {"rows": 2}, LoopSettings()).endswith("start a new run in another output_dir")


def test_a_start_may_be_named_by_another_path(tmp_path, monkeypatch):
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    paths = {unchanging.flags_of(TaskSettings(output_dir="o", init_checkpoint=path))["init_checkpoint"] for path in
             ("bert", "./bert/", f"{tmp_path}/bert")}  # fmt: skip
    assert paths == {f"{tmp_path}/bert"}
    assert unchanging.flags_of(TaskSettings(output_dir="o", init_checkpoint="a/b"))["init_checkpoint"] == "a/b"


# --- Files ---


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_another_file_is_named_with_what_changed(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("data") / "train.tsv"
    path.write_bytes(before)
    saved = unchanging.file_read("train_file", str(path))
    moved = path.with_name("moved.tsv")
    moved.write_bytes(after)
    now = unchanging.file_read("train_file", str(moved))
    if before == after:
        unchanging.check(saved, now, place="out", settings=None)
        return
    said = refused(saved, now)
    assert f"was begun with another --train_file than {moved} is now" in said
    lines = [content.count(b"\n") for content in (before, after)]
    if lines[0] != lines[1]:
        assert f"it had {lines[0]} lines, this has {lines[1]}" in said
    elif len(before) != len(after):
        assert f"it had {len(before)} bytes, this has {len(after)}" in said
    else:
        assert "of the same length, but with other content" in said


def test_a_file_of_a_run_of_an_earlier_version_is_named_too(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    said = refused({"train_file": "0" * 64}, unchanging.file_read("train_file", str(tmp_path / "a.json")))
    assert f"another --train_file than {tmp_path}/a.json is now; go on" in said
    assert "0" * 64 not in said


def shards(**sizes) -> dict:
    return {"input_data": {name: {"bytes": size, "sha256": None} for name, size in sizes.items()}}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (shards(a=1), "these are without b;"),
        (shards(a=1, b=2, c=3), "these are with c;"),
        (shards(a=1, c=3), "these are without b and with c;"),
        (shards(a=1, b=5), "another b of --input_file: 2 bytes then, 5 now;"),
        ({"input_data": {**shards(a=1)["input_data"], "b": {"bytes": 2, "sha256": "x"}}}, "same size, but with other"),
    ],
)
def test_other_shards_are_named(now, said):
    assert said in refused(shards(a=1, b=2), now)


def test_shards_of_an_earlier_version_are_their_names():
    assert "these are without b and with c;" in refused({"input_files": ["a", "b"]}, {"input_files": ["a", "c"]})
    assert "in another order" in refused({"input_files": ["a", "b"]}, {"input_files": ["b", "a"]})


class Tokenizer:
    def __init__(self, fingerprint="1", **settings):
        self._fingerprint, self._settings = fingerprint, {"pre_tokenizer": "mecab", "dictionary": "/a", **settings}

    def settings(self):
        return self._settings

    def fingerprint(self):
        return self._fingerprint


def test_another_tokenizer_is_reported_by_its_flag():
    saved = unchanging.tokenizer_used(Tokenizer())
    unchanging.check(saved, unchanging.tokenizer_used(Tokenizer(dictionary="/b")), place="out", settings=None)
    other = unchanging.tokenizer_used(Tokenizer("2", pre_tokenizer="none"))
    assert "has --pre_tokenizer=mecab, but now came none" in refused(saved, other)
    assert "--vocab_file: other pieces" in refused(saved, unchanging.tokenizer_used(Tokenizer("2")))


def test_another_configuration_is_reported_by_its_key():
    class Config:
        hidden_dropout_prob = 0.1

    saved = unchanging.config_used(Config())
    Config.hidden_dropout_prob = 0.2
    said = refused(saved, unchanging.config_used(Config()))
    assert "has --bert_config_file with hidden_dropout_prob=0.1, but now came 0.2" in said
