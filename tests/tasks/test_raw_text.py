"""Pre-training from raw text: the records are those of the two-command way, and a part of a set is never read."""

import gzip
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import local_runner, tfrecord
from kobert_tf2.pretraining_data.instances import Settings
from kobert_tf2.tasks import pretrain as pretraining
from kobert_tf2.tasks import raw_text
from kobert_tf2.tokenization.tokenizer import Tokenizer

LETTERS = "가나다라마바사아자차카타파하"
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
CONFIG = {
    "vocab_size": len(VOCAB),
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}
MADE = {"max_seq_length": 16, "max_predictions_per_seq": 3, "dupe_factor": 3, "random_seed": 7}


@pytest.fixture
def folder(tmp_path):
    lines = [f"{LETTERS[i % 14]}{LETTERS[(3 * i) % 14]} {LETTERS[(5 * i) % 14]}" for i in range(60)]
    text = "\n\n".join("\n".join(lines[i : i + 6]) for i in range(0, 60, 6))
    (tmp_path / "corpus.txt").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCAB), encoding="utf-8")
    (tmp_path / "sizes").mkdir()
    (tmp_path / "sizes/bert_config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def pretrain(folder, **changed) -> dict:
    arguments = {
        "bert_config_file": f"{folder}/sizes/bert_config.json",
        "input_file": f"{folder}/corpus.txt",
        "vocab_file": f"{folder}/vocab.txt",
        "tokenizer_settings": {"pre_tokenizer": "none"},
        "output_dir": f"{folder}/out",
        "strategy": "one_device",
        "do_train": True,
        "train_batch_size": 4,
        "num_train_steps": 2,
        "num_warmup_steps": 0,
        "num_workers": 1,
    }
    return pretraining.pretrain(pretraining.PretrainSettings(**{**arguments, **MADE, **changed}))


def two_commands(folder, **changed) -> bytes:
    """The records that create_pretraining_data makes."""
    values = {**MADE, **changed}
    request = local_runner.Request(
        input_file=f"{folder}/corpus.txt",
        output_file=f"{folder}/expected/r.tfrecord",
        tokenizer=Tokenizer(VOCAB, pre_tokenizer="none"),
        random_seed=values.pop("random_seed"),
        settings=Settings(**values),
        overwrite=True,
    )
    local_runner.create(request)
    return pathlib.Path(request.output_file).read_bytes()


def records(folder) -> bytes:
    return (folder / "out/records/corpus.tfrecord").read_bytes()


def test_the_records_are_those_of_the_two_commands_and_a_resumed_run_reuses_them(folder, capfd, monkeypatch):
    pretrain(folder)
    said = capfd.readouterr().err
    assert sum("corpus.txt: raw text, not TFRecords" in line for line in said.splitlines()) == 1
    assert records(folder) == two_commands(folder)
    time = (folder / "out/records/corpus.tfrecord").stat().st_mtime_ns
    assert pretrain(folder, num_train_steps=4)["resumed_from"] == 2
    assert (folder / "out/records/corpus.tfrecord").stat().st_mtime_ns == time

    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="dupe_factor was 3, is 2"):
        pretrain(folder, num_train_steps=4, dupe_factor=2)
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before


def test_a_killed_creation_is_completed_and_one_with_other_flags_is_made_again(folder, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(local_runner, "_write_shards", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(folder)
    assert (folder / "out/records/corpus.tfrecord.json").exists()
    assert not (folder / "out/records/corpus.tfrecord").exists()
    arguments = dict(MADE, dupe_factor=2)
    monkeypatch.setattr(pretraining, "_train", lambda *_: {})
    pretrain(folder, **arguments)
    assert records(folder) == two_commands(folder, dupe_factor=2)
    pretrain(folder)
    assert records(folder) == two_commands(folder)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"vocab_file": None}, "expected --vocab_file"),
        ({"max_seq_length": 128}, "max_position_embeddings is 64"),
        ({"mask_unit": "token", "do_whole_word_mask": True}, "contradict"),
        ({"input_file": "{folder}/corpus.txt,{folder}/r.tfrecord"}, "raw text alone"),
        ({"input_file": "{folder}/r.tfrecord"}, "--dupe_factor=3: expected raw text"),
        ({"eval_file": "{folder}/corpus.txt"}, "this is raw text"),
    ],
)
def test_wrong_input_is_a_sentence_before_anything_is_written(folder, changed, sentence):
    features = tfrecord.pretraining_features(max_seq_length=16, max_predictions_per_seq=3)
    table = {name: np.ones((2, feature.length), feature.dtype) for name, feature in features.items()}
    tfrecord.write(f"{folder}/r.tfrecord", table)
    filled = {name: value.format(folder=folder) if isinstance(value, str) else value for name, value in changed.items()}
    with pytest.raises(InputError, match=sentence):
        pretrain(folder, **filled)
    assert not list((folder / "out").rglob("*.tfrecord*"))


@given(st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text))
def test_text_is_told_from_records_by_its_content(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "x.tfrecord"
    path.write_text(text, encoding="utf-8", errors="replace")
    assert raw_text.is_raw_text([str(path)])
    framed = b"".join(tfrecord.framed([text.encode("utf-8", "replace")]))
    for content in (framed, gzip.compress(framed), framed[:11], b""):
        path.write_bytes(content)
        assert not raw_text.is_raw_text([str(path)])


def test_packed_records_are_trained_on_and_refused_where_they_are_not_packed(folder):
    summary = pretrain(
        folder, pack_sequences=True, short_seq_prob=1.0, max_seq_length=64, do_eval=True, eval_batch_size=2
    )
    assert summary["global_step"] == 2
    assert np.isfinite(summary["next_sentence_loss"])
    car = json.loads((folder / "out/records/corpus.tfrecord.json").read_text())
    assert car["packed"] is True
    assert car["counts"]["sequences"] > car["counts"]["instances"]
    again = pretrain(folder, pack_sequences=True, short_seq_prob=1.0, max_seq_length=64, num_train_steps=4)
    assert again["resumed_from"] == 2
    with pytest.raises(InputError, match="pack_sequences was True, is None"):
        pretrain(folder, num_train_steps=4, short_seq_prob=1.0, max_seq_length=64)
