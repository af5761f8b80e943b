"""The SavedModel: its contents, its outputs in a process that cannot import this package, and rejected exports."""

import json
import os
import subprocess
import sys
import textwrap
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from paths import ROOT
from slow_cases import rest_slow

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.serving import export, signatures
from kobert_tf2.serving.predictor import Predictor
from kobert_tf2.tokenization import pretrained as tokenizer_files
from kobert_tf2.tokenization.tokenizer import Tokenizer

SYLLABLES = "가나다라마바사아자차카타파하은는이을를"
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SYLLABLES, *(f"##{s}" for s in SYLLABLES), ".", ",", "?"]
# Weights are large, so that logits differ by far more than the tolerance.
CONFIG = models.BertConfig(
    vocab_size=len(VOCAB) + 3,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=64,
    initializer_range=0.4,
)
MODELS = {
    "reading": models.BertForQuestionAnswering,
    "classification": models.BertForSequenceClassification,
    "tokens": models.BertForTokenClassification,
    "embedding": models.BertBackbone,
    "pretraining": models.BertForPreTraining,
}


def make_model(head: str, **kwargs):
    """A model with a different value in every weight, biases included."""
    if head in ("classification", "tokens"):
        kwargs["num_labels"] = 3
    model = MODELS[head](CONFIG, **kwargs)
    rng = np.random.default_rng(7)
    model.set_weights([np.asarray(w) + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def make_batch(batch: int, length: int, head: str = "reading") -> dict[str, np.ndarray]:
    """Rows of different lengths, a question in segment 0 and a context in segment 1, closed by [SEP]."""
    rng = np.random.default_rng(batch * 100 + length)
    ids = rng.integers(5, len(VOCAB), (batch, length)).astype(np.int32)
    mask, segment = np.zeros((2, batch, length), np.int32)
    for row in range(batch):
        used, question = length - (row * 2) % (length - 4), 2 + row % 2
        ids[row, 0], ids[row, [question, used - 1]], ids[row, used:] = 2, 3, 0
        mask[row, :used], segment[row, question + 1 : used] = 1, 1
    inputs = {"input_ids": ids, "input_mask": mask, "segment_ids": segment}
    if head == "pretraining":
        inputs["masked_lm_positions"] = rng.integers(0, length, (batch, 4)).astype(np.int32)
    return inputs


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory):
    """One model directory a head."""
    folders = {}
    for head in MODELS:
        folders[head] = str(tmp_path_factory.mktemp("models") / head)
        make_model(head).save_pretrained(folders[head], Tokenizer(VOCAB, pre_tokenizer="none"))
    return folders


LENGTHS = {"max_seq_length": 40, "doc_stride": 12, "max_query_length": 12, "max_answer_length": 6, "n_best_size": 8}


@pytest.fixture(scope="module")
def exported(model_dirs, tmp_path_factory) -> dict:
    """A reader exported as it is by default, for the tests that only look at it."""
    return export.export(model_dirs["reading"], str(tmp_path_factory.mktemp("exported")), **LENGTHS)


# A process in which our package and tensorflow-text cannot be imported: plain TensorFlow.
LOAD_ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("kobert_tf2", "tensorflow_text"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np, tensorflow as tf
archive, loaded = np.load(sys.argv[2]), {}
for n in range(int(sys.argv[3])):
    inputs = {key.split("|")[1]: archive[key] for key in archive.files if key.startswith(f"{n}|")}
    path = str(inputs.pop("path"))
    if path not in loaded:
        loaded[path] = tf.saved_model.load(path)
    outputs = loaded[path].signatures[str(inputs.pop("signature"))](**inputs)
    np.savez(f"{sys.argv[1]}/{n}.npz", **{name: value.numpy() for name, value in outputs.items()})
for name in ("kobert_tf2", "tensorflow_text"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " could be imported: this shows nothing")
"""


def run_alone(folder, requests: list[tuple[str, str, dict]]) -> list[dict[str, np.ndarray]]:
    """Answers (export, signature, inputs) in a fresh process where our package and tensorflow-text cannot be imported.

    Keras can be: TensorFlow imports it itself.
    """
    arrays = {}
    for n, (path, signature, inputs) in enumerate(requests):
        arrays |= {f"{n}|{name}": value for name, value in {**inputs, "path": path, "signature": signature}.items()}
    np.savez(f"{folder}/requests.npz", **arrays)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(LOAD_ALONE),
        str(folder),
        f"{folder}/requests.npz",
        str(len(requests)),
    ]
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, timeout=300)
    return [dict(np.load(f"{folder}/{n}.npz")) for n in range(len(requests))]


@pytest.mark.parametrize("heads", rest_slow([["reading"], list(MODELS)]), ids=["reading", "all"])
def test_every_head_answers_the_same_in_a_process_without_this_package(model_dirs, heads, tmp_path):
    requests, expected = [], []
    for head in heads:
        folder = model_dirs[head]
        result = export.export(folder, str(tmp_path / head), with_text=False)
        assert result["head"] == head
        model = MODELS[head].from_pretrained(folder)
        for batch, length in ((1, 9), (3, 17), (5, 64)):
            inputs = make_batch(batch, length, head)
            requests.append((result["path"], "serving_default", inputs))
            expected.append(model(inputs, training=False))
    for (path, _, inputs), wanted, outputs in zip(requests, expected, run_alone(tmp_path, requests), strict=True):
        for name, value in wanted.items():
            assert outputs[name].dtype == np.float32
            np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=f"{path} {name}")
        if "mean_output" in outputs:
            weights = inputs["input_mask"][:, :, None]
            mean = (wanted["sequence_output"] * weights).numpy().sum(1) / weights.sum(1)
            np.testing.assert_allclose(outputs["mean_output"], mean, atol=1e-5)
        if "probabilities" in outputs:
            np.testing.assert_allclose(outputs["probabilities"].sum(-1), 1, atol=1e-5)


def test_answer_span_gives_the_best_allowed_pairs(model_dirs, tmp_path):
    export.export(model_dirs["reading"], str(tmp_path), with_text=False, max_answer_length=4, n_best_size=5)
    loaded = tf.saved_model.load(f"{tmp_path}/1")
    inputs = make_batch(6, 20)
    logits = loaded.signatures["serving_default"](**inputs)
    found = loaded.signatures["answer_span"](**inputs)
    for row in range(6):
        ids, segment = inputs["input_ids"][row], inputs["segment_ids"][row]
        context = np.flatnonzero((segment == 1) & (ids != 3))
        start, end = logits["start_logits"][row].numpy(), logits["end_logits"][row].numpy()
        pairs = sorted(((start[i] + end[j], i, j) for i in context for j in context if i <= j < i + 4), reverse=True)[
            :5
        ]
        count = len(pairs)
        np.testing.assert_allclose(found["score"][row, :count], [score for score, _, _ in pairs], atol=1e-5)
        assert found["start"][row, :count].numpy().tolist() == [i for _, i, _ in pairs]
        assert found["end"][row, :count].numpy().tolist() == [j for _, _, j in pairs]
        assert (found["start"][row, count:].numpy() == -1).all()
        assert float(found["null_score"][row]) == pytest.approx(start[0] + end[0], abs=1e-5)


def test_assets_and_signature_say_what_is_in_it(exported):
    path = exported["path"]
    assert sorted(os.listdir(f"{path}/assets")) == ["config.json", "serving.json", "tokenizer_config.json", "vocab.txt"]
    assert Tokenizer.from_pretrained(f"{path}/assets").vocab == {piece: n for n, piece in enumerate(VOCAB)}
    with open(f"{path}/assets/serving.json", encoding="utf-8") as file:
        about = json.load(file)
    assert about["reading"] == {**LENGTHS, "null_score_diff_threshold": None, "strip_josa": None}
    assert about["signatures"] == exported["signatures"] == ["answer_span", "serving_default"]
    assert sorted(os.listdir(f"{exported['text_path']}/assets")) == sorted(os.listdir(f"{path}/assets"))
    signature = tf.saved_model.load(path).signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in specs.items()} == {
        name: ([None, None], tf.int32) for name in signatures.INPUTS
    }


def export_in_memory(model, folder: str) -> str:
    return export.export_model(model, Tokenizer(VOCAB, pre_tokenizer="none"), folder, with_text=False)["path"]


# Two logical devices can only be requested before TensorFlow starts, so a separate process trains a reader on them and
# exports it, both inside and outside the strategy's scope.
TRAIN_ON_TWO_REPLICAS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path[:0] = sys.argv[2:]
import numpy as np
import test_export
from kobert_tf2.training import losses, loop, optimizers
strategy = loop.make_strategy("mirrored", devices=["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    model = test_export.make_model("reading", dtype="mixed_bfloat16")
    optimizer = optimizers.create_optimizer("bert_adam", learning_rate=0.05, num_train_steps=9, num_warmup_steps=1)
before = model.get_weights()
batch = test_export.make_batch(8, 20)
batch |= {"start_positions": np.full(8, 5, np.int32), "end_positions": np.full(8, 7, np.int32)}
dataset = tf.data.Dataset.from_tensors(batch).repeat()
task = loop.Task(weights=losses.span_weights, sums=losses.span_sums)
loop.train(model, optimizer, dataset, task, num_steps=4, strategy=strategy)
after = model.get_weights()
assert np.mean([np.abs(a - b).max() > 1e-3 for a, b in zip(before, after, strict=True)]) > 0.8
with strategy.scope():
    test_export.export_in_memory(model, sys.argv[1] + "/inside")
test_export.export_in_memory(model, sys.argv[1] + "/outside")
np.savez(sys.argv[1] + "/trained.npz", *after)
"""


@pytest.mark.slow
def test_what_was_trained_in_bfloat16_and_on_replicas_is_exported_in_float32(tmp_path):
    folders = (os.path.dirname(os.path.abspath(__file__)), str(ROOT / "tests" / "support"))
    command = [sys.executable, "-c", TRAIN_ON_TWO_REPLICAS, str(tmp_path), *folders]
    subprocess.run(command, check=True, timeout=300)
    half = make_model("reading", dtype="mixed_bfloat16")
    with np.load(f"{tmp_path}/trained.npz") as trained:
        trained = list(trained.values())
    weights = {
        f"{tmp_path}/inside/1": trained,
        f"{tmp_path}/outside/1": trained,
        export_in_memory(half, str(tmp_path / "half")): half.get_weights(),
    }
    requests = [
        (path, "serving_default", make_batch(*shape)) for path in weights for shape in ((1, 9), (3, 17), (5, 64))
    ]
    plain = models.BertForQuestionAnswering(CONFIG, dtype="float32")
    for (path, _, inputs), outputs in zip(requests, run_alone(tmp_path, requests), strict=True):
        plain.set_weights(weights[path])
        for name, value in plain(inputs, training=False).items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=path)


def test_an_export_is_never_overwritten_unasked_nor_mixed_with_an_older_one(model_dirs, tmp_path):
    path = export.export(model_dirs["reading"], str(tmp_path))["path"]
    assert sorted(os.listdir(tmp_path)) == ["1", "text"]
    with pytest.raises(InputError, match="already there"):
        export.export(model_dirs["reading"], str(tmp_path))
    (tmp_path / "1" / "assets" / "notes.txt").write_text("somebody else's")
    with pytest.raises(InputError, match=r"1/assets/notes\.txt: not of the export that is to be overwritten"):
        export.export(model_dirs["classification"], str(tmp_path), overwrite=True)
    (tmp_path / "1" / "assets" / "notes.txt").rename(tmp_path.parent / "notes.txt")
    with pytest.raises(InputError, match="is an input of the same run"):
        export.export(path, str(tmp_path), overwrite=True)
    export.export(model_dirs["classification"], str(tmp_path), overwrite=True)
    assert os.listdir(tmp_path) == ["1"]
    assert "logits" in tf.saved_model.load(path).signatures["serving_default"].structured_outputs
    export.export(model_dirs["reading"], str(tmp_path), version=2, with_text=False)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_all_that_a_tokenizer_may_write_belongs_to_an_export():
    names = ("VOCAB_FILE", "CONFIG_FILE", "CODE_FILE", "USER_DICTIONARY_FILE", "MODEL_FILE", "TOKENIZER_FILE")
    for name in names:
        assert export._OF_AN_EXPORT.fullmatch(f"assets/{getattr(tokenizer_files, name)}"), name
    assert not export._OF_AN_EXPORT.fullmatch("assets/notes.txt")


def test_a_model_with_text_of_another_export_is_not_left_beside_a_new_one(model_dirs, tmp_path):
    (tmp_path / "text" / "1").mkdir(parents=True)
    (tmp_path / "text" / "1" / "saved_model.pb").write_text("another")
    with pytest.raises(InputError, match="text/1: already there"):
        export.export(model_dirs["classification"], str(tmp_path))
    assert os.listdir(tmp_path) == ["text"]


def test_a_folder_that_is_no_export_is_not_overwritten_even_if_asked(model_dirs, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "thesis.txt").write_text("unsaved")
    with pytest.raises(InputError, match="something else"):
        export.export(model_dirs["reading"], str(tmp_path), overwrite=True)
    assert os.listdir(tmp_path / "1") == ["thesis.txt"]


@pytest.mark.parametrize("succeed", [0, 1])
def test_a_failure_leaves_nothing_behind(model_dirs, tmp_path, monkeypatch, succeed):
    """Neither where the first of the two SavedModels cannot be written nor where the second cannot."""
    save, calls = tf.saved_model.save, []

    def full_disk(*args, **kwargs):
        if len(calls) == succeed:
            raise OSError("no space left on device")
        calls.append(args)
        save(*args, **kwargs)

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        export.export(model_dirs["reading"], str(tmp_path / "export"))
    assert list((tmp_path / "export").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"head": "nothing"}, "head: expected one of"),
        ({"max_seq_length": 65}, "at most the model's max_position_embeddings, 64, but got 65"),
        ({"max_answer_length": 0}, "max_answer_length: expected at least 1"),
        ({"doc_stride": 60}, "doc_stride"),
        ({"version": 0}, "version: expected a number from 1 on"),
    ],
)
def test_wrong_settings_are_answered_with_a_sentence(model_dirs, tmp_path, change, sentence):
    with pytest.raises(InputError, match=sentence):
        export.export(model_dirs["reading"], str(tmp_path), **change)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    tokenizer = Tokenizer([*VOCAB, *"abcd"], pre_tokenizer="none")
    with pytest.raises(InputError, match=f"at most {CONFIG.vocab_size} pieces, the model's vocab_size, but it has"):
        export.export_model(make_model("reading"), tokenizer, str(tmp_path))


# A process with TensorFlow and tensorflow-text but without our package.
ASK_ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "kobert_tf2":
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import json, tensorflow as tf, tensorflow_text
answers, loaded = [], {}
for path, pairs in json.load(sys.stdin):
    if path not in loaded:
        loaded[path] = tf.saved_model.load(path)
    ask = loaded[path].signatures["answer_text"]
    outputs = ask(question=tf.constant([q for q, _ in pairs]), context=tf.constant([c for _, c in pairs]))
    names = ("answer", "start", "end", "score", "probability", "null_score_diff", "n_best_start")
    columns = {name: outputs[name].numpy().tolist() for name in names}
    columns["answer"] = [answer.decode() for answer in columns["answer"]]
    answers += [dict(zip(columns, row)) for row in zip(*columns.values())]
print(json.dumps(answers))
"""


def ask_alone(asked: list[tuple[str, list]], folder) -> list[dict]:
    result = subprocess.run(
        [sys.executable, "-c", ASK_ALONE], input=json.dumps(asked), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ""}, cwd=folder, timeout=300,
    )  # fmt: skip
    return json.loads(result.stdout)


@pytest.mark.slow
def test_answer_text_reads_strings_and_answers_as_the_predictor(model_dirs, exported, tmp_path):
    folder = os.path.dirname(exported["path"])
    assert exported["text_path"] == f"{folder}/text/1"
    assert exported["text_signatures"] == ["answer_span", "answer_text", "serving_default"]
    several = [
        ("가나다라마바사아자차카타파하 가나다라?", "가 나 다 라. " * 40 + "하하"),
        ("나?", unicodedata.normalize("NFD", "가나는 각을 다라.")),
        ("나?", "가"),
        ("나", ""),
    ]
    asked = [[("가나?", "다라는 마바, 사아를  자차카타.")], several, [("나", "")]]
    pairs = [pair for batch in asked for pair in batch]
    expected = Predictor.load(folder).answer_batch(pairs, strip_josa=False)
    # "No answer" is preferred to some of the answers, but not to all.
    settings = {**LENGTHS, "null_score_diff_threshold": 0.0}
    differences = [
        answer["null_score_diff"]
        for answer in Predictor.load(folder, **settings).answer_batch(pairs, strip_josa=False)
        if answer["null_score_diff"] < 1e8
    ]
    settings["null_score_diff_threshold"] = float(np.mean(differences))
    with_none = export.export(model_dirs["reading"], str(tmp_path / "none"), **settings)
    expected_or_none = Predictor.load(with_none["path"]).answer_batch(pairs, strip_josa=False)

    told = ask_alone(
        [(path, batch) for path in (exported["text_path"], with_none["text_path"]) for batch in asked], tmp_path
    )
    for (_, context), found, wanted in zip(pairs, told[: len(pairs)], expected, strict=True):
        assert found["answer"] == context[found["start"] : found["end"]] == wanted["text"]
        assert (found["start"], found["end"]) == (wanted["start"], wanted["end"])
        if context:
            assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
            assert found["n_best_start"][0] == found["start"]
    empty = 0
    for (_, context), found, wanted in zip(pairs, told[len(pairs) :], expected_or_none, strict=True):
        assert (found["answer"], found["start"], found["end"]) == (wanted["text"], wanted["start"], wanted["end"])
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
        if len(context) < 2:  # otherwise the predictor lists equal texts once, unlike the graph
            assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-4)
        if context:
            assert found["null_score_diff"] == pytest.approx(wanted["null_score_diff"], abs=1e-4)
            empty += not found["answer"]
    assert 0 < empty < len([context for _, context in pairs if context])


# Only modules that the package itself imports.
LOAD_WITH_TEXT = """
import sys
import kobert_tf2 as kb
print(kb.Predictor.load(sys.argv[1]).answer("가나?", "다라는 마바", strip_josa=False)["text"])
"""


def test_a_predictor_loads_the_model_with_text_too(exported):
    folder = os.path.dirname(exported["path"])
    command = [sys.executable, "-c", LOAD_WITH_TEXT, f"{folder}/text"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert result.stdout.strip() == Predictor.load(folder).answer("가나?", "다라는 마바")["text"]


def test_text_goes_in_only_where_it_can_and_is_wanted(model_dirs, tmp_path):
    plain = export.export(model_dirs["reading"], str(tmp_path / "plain"), with_text=False)
    assert plain["signatures"] == ["answer_span", "serving_default"]
    assert os.listdir(tmp_path / "plain") == ["1"]
    mecab = export.export_model(make_model("reading"), Tokenizer(VOCAB), str(tmp_path / "mecab"))
    assert "text_path" not in mecab
    assert os.listdir(tmp_path / "mecab") == ["1"]
    with pytest.raises(InputError, match="Mecab, which cannot run in a graph"):
        export.export_model(make_model("reading"), Tokenizer(VOCAB), str(tmp_path / "asked"), with_text=True)
    with pytest.raises(InputError, match="as a SavedModel, but the head is classification"):
        export.export(model_dirs["classification"], str(tmp_path / "asked"), with_text=True)
    with pytest.raises(InputError, match="file_format: expected one of saved_model, onnx"):
        export.export(model_dirs["reading"], str(tmp_path / "asked"), file_format="torchscript")
    assert not (tmp_path / "asked").exists()


def test_a_model_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a model directory .* but nothing has that name"):
        export.export(str(tmp_path / "nowhere"), str(tmp_path / "export"))
    with pytest.raises(InputError, match=r"there is neither config\.json"):
        export.export(str(tmp_path), str(tmp_path / "export"))
    assert list(tmp_path.iterdir()) == []
