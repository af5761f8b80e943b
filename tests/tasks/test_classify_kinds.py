"""Fine-tuning on every kind of problem: several labels with their thresholds, numbers, relations with their markers."""

import json
import random

import numpy as np
import pytest

from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.labelling.settings import ClassifierSettings
from kobert_tf2.tasks import classify
from kobert_tf2.tokenization.tokenizer import Tokenizer

WORDS = "맛 값 방 좋다 비싸다 깨끗하다 나쁘다 해미 누리 서울 부산 배 살다 세우다".split()
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A backbone to begin with, and its vocabulary without any marker."""
    folder = tmp_path_factory.mktemp("start") / "model"
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], pre_tokenizer="none")
    config = models.BertConfig(vocab_size=len(tokenizer.vocab), **SIZES)
    models.BertForPreTraining(config).save_pretrained(str(folder), tokenizer)
    return str(folder)


def finetune(output_dir, **changes) -> dict:
    given = {
        "output_dir": str(output_dir), "max_seq_length": 16, "learning_rate": 3e-3, "num_train_epochs": 12.0,
        "strategy": "one_device", "log_steps": 1000, **changes,
    }  # fmt: skip
    return classify.finetune(classify.FinetuneSettings(**given))


def write_tsv(path, header, rows) -> str:
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
    return str(path)


# ----------------------------------------------------------------------------------------------------------------------
# Several labels
# ----------------------------------------------------------------------------------------------------------------------

ASPECTS = ("맛", "값", "방")


def reviews(count, seed):
    """Rows whose labels are the aspects that they speak of: none to all three."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        about = [aspect for aspect in ASPECTS if rng.random() < 0.4]
        rows.append((" ".join([*about, rng.choice(["좋다", "나쁘다"])]), "|".join(about)))
    return rows


@pytest.fixture(scope="module")
def several(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    files = {
        f"{name}_file": write_tsv(folder / f"{name}.tsv", ("글", "태그"), reviews(count, seed))
        for name, count, seed in (("train", 200, 1), ("eval", 60, 2), ("predict", 20, 3))
    }
    settings = {
        "problem_type": "multi_label", "text_column": "글", "label_column": "태그", "label_separator": "|",
        "init_checkpoint": start, **files,
    }  # fmt: skip
    asked = {"do_train": True, "do_eval": True, "do_predict": True, "choose_thresholds": True}
    summary = finetune(folder / "out", **settings, **asked)
    return folder / "out", settings, summary


def test_several_labels_are_learnt_and_scored(several):
    output_dir, _, summary = several
    assert summary["problem_type"] == "multi_label_classification"
    assert min(summary["f1_micro"], summary["f1_macro"]) > 0.85
    results = dict(line.split(" = ") for line in (output_dir / "eval_results.txt").read_text().splitlines())
    assert float(results["eval_f1_micro"]) == summary["f1_micro"]
    assert not (output_dir / "confusion.tsv").exists()


def test_probabilities_are_of_each_label_and_those_above_its_threshold_are_given(several):
    output_dir, _, summary = several
    lines = (output_dir / "predictions.tsv").read_text("utf-8").splitlines()
    header, *rows = (line.split("\t") for line in lines)
    assert header == ["id", "predicted", *(f"probability_{name}" for name in summary["labels"])]
    thresholds = [summary["thresholds"][name] for name in summary["labels"]]
    for row in rows:
        above = [name for name, p, t in zip(summary["labels"], row[2:], thresholds, strict=True) if float(p) >= t]
        assert row[1] == "|".join(above)
    assert {sum(map(float, row[2:])) > 1.1 for row in rows} == {True, False}


def test_the_model_keeps_its_kind_and_its_thresholds(several):
    output_dir, settings, summary = several
    config = json.loads((output_dir / "model/config.json").read_text("utf-8"))
    assert config["problem_type"] == "multi_label_classification"
    kept = ClassifierSettings.kept_in(str(output_dir / "model/config.json"), summary["labels"])
    assert (kept.thresholds, kept.max_seq_length, kept.takes_pairs) == (summary["thresholds"], 16, False)
    columns = {name: settings[name] for name in ("text_column", "label_column", "label_separator", "eval_file")}
    again = finetune(output_dir, **columns, do_eval=True)
    assert {name: again[name] for name in ("f1_micro", "thresholds", "problem_type")} == {
        name: summary[name] for name in ("f1_micro", "thresholds", "problem_type")
    }
    everything = finetune(output_dir, **columns, do_eval=True, threshold=0.0)
    assert (everything["recall"], everything["thresholds"]) == (1.0, dict.fromkeys(summary["labels"], 0.0))


def test_a_label_that_training_never_saw_is_reported_before_the_training(several, start, tmp_path):
    _, settings, _ = several
    eval_file = write_tsv(tmp_path / "dev.tsv", ("글", "태그"), [("맛 좋다", "맛"), ("값 좋다", "값|친절")])
    with pytest.raises(InputError, match=r"dev\.tsv, line 3: the label '친절' is not one of"):
        finetune(tmp_path / "out", **{**settings, "eval_file": eval_file}, do_train=True, do_eval=True)
    assert not (tmp_path / "out/model").exists()


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        (
            {"problem_type": "regression"},
            "is for multi_label_classification, but --problem_type is",
        ),
        ({"choose_thresholds": True, "do_eval": False, "do_predict": True}, "--choose_thresholds: expected --do_eval"),
        ({"text_column": "없는"}, r"line 1: .*없는 is missing"),
        ({"additional_special_tokens": ["[NEW]"]}, r"trained without the special tokens \[NEW\]"),
    ],
)
def test_what_a_trained_model_cannot_do_is_reported(several, changes, reported):
    output_dir, settings, _ = several
    asked = {**settings, "init_checkpoint": None, "do_eval": True, **changes}
    with pytest.raises(InputError, match=reported):
        finetune(output_dir, **asked)


# ----------------------------------------------------------------------------------------------------------------------
# Numbers
# ----------------------------------------------------------------------------------------------------------------------


def pairs(count, seed):
    """Pairs of three words; 5 for the same three, 0 for three others, as KorSTS' files have them."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        first, second = rng.sample(WORDS, 3), rng.sample(WORDS, 3)
        shared = rng.randrange(4)
        second = [*first[:shared], *[word for word in second if word not in first][: 3 - shared]]
        rows.append(("main", f"{shared * 5 / 3:.3f}", " ".join(first), " ".join(second)))
    return rows


def test_similarities_are_learnt_as_numbers(start, tmp_path):
    files = {
        f"{name}_file": write_tsv(tmp_path / f"{name}.tsv", ("genre", "score", "sentence1", "sentence2"), rows)
        for name, rows in (("train", pairs(300, 1)), ("eval", pairs(50, 2)), ("predict", pairs(10, 3)))
    }
    asked = {"do_train": True, "do_eval": True, "do_predict": True}
    summary = finetune(tmp_path / "out", init_checkpoint=start, **files, **asked, num_train_epochs=15.0)
    assert summary["problem_type"] == "regression"
    assert -1 <= summary["spearman"] <= 1
    assert summary["pearson"] > 0.3
    assert {"f1_at_3", "mse", "mae"} <= summary.keys()
    lines = (tmp_path / "out/predictions.tsv").read_text("utf-8").splitlines()
    assert lines[0] == "id\tpredicted"
    assert np.isfinite([float(line.split("\t")[1]) for line in lines[1:]]).all()
    config = json.loads((tmp_path / "out/model/config.json").read_text("utf-8"))
    assert (config["problem_type"], config["id2label"]) == ("regression", {"0": "LABEL_0"})
    single = write_tsv(tmp_path / "single.tsv", ("sentence1", "score"), [("맛 좋다", "3")])
    with pytest.raises(InputError, match=r"single\.tsv, line 1: expected pairs of texts, as .*/out/model has"):
        finetune(tmp_path / "out", eval_file=single, do_eval=True)
    again = finetune(tmp_path / "out", eval_file=files["eval_file"], do_eval=True)
    assert again["pearson"] == pytest.approx(summary["pearson"], abs=1e-6)
    with pytest.raises(InputError, match="are for several labels, but this is regression"):
        finetune(tmp_path / "out", eval_file=files["eval_file"], do_eval=True, threshold=0.4)


# ----------------------------------------------------------------------------------------------------------------------
# Relations and their markers
# ----------------------------------------------------------------------------------------------------------------------


def relations(count, seed):
    rng, rows = random.Random(seed), []
    for number in range(count):
        person, place, verb = rng.choice(["해미", "누리"]), rng.choice(["서울", "부산"]), rng.choice(["살다", "세우다"])
        sentence = f"{person} {place} {verb}"
        entities = [
            {"word": word, "start_idx": sentence.index(word), "end_idx": sentence.index(word) + 1, "type": "X"}
            for word in (person, place)
        ]
        label = "no_relation" if verb == "세우다" else "per:place_of_residence"
        rows.append({"guid": f"r{number}", "sentence": sentence, "label": label})
        rows[-1] |= dict(zip(("subject_entity", "object_entity"), entities, strict=True))
    return rows


def test_markers_are_one_piece_each_trained_and_saved(start, tmp_path):
    transformers = pytest.importorskip("transformers")
    for name, count, seed in (("train", 120, 1), ("dev", 30, 2)):
        rows = relations(count, seed)
        (tmp_path / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    asked = {"data_dir": str(tmp_path), "additional_special_tokens": ["[AGE]"], "init_checkpoint": start}
    summary = finetune(tmp_path / "out", **asked, do_train=True, do_eval=True)
    assert {"f1_micro_without_no_relation", "auprc"} <= summary.keys()
    assert summary["accuracy"] == 1
    model = str(tmp_path / "out/model")
    tokenizer, theirs = Tokenizer.from_pretrained(model), transformers.AutoTokenizer.from_pretrained(model)
    size = 5 + len(WORDS)
    special = ["[AGE]", "[SUBJ]", "[/SUBJ]", "[OBJ]", "[/OBJ]"]
    assert tokenizer.convert_tokens_to_ids(special) == list(range(size, size + 5))
    text = "[SUBJ]해미[/SUBJ] 서울[AGE] [OBJ]부산[/OBJ] 살다"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode_ids(text)
    assert tokenizer.tokenize(text) == ["[SUBJ]", "해미", "[/SUBJ]", "서울", "[AGE]", "[OBJ]", "부산", "[/OBJ]", "살다"]
    ours = classify.MODEL.from_pretrained(model)
    assert ours.config.vocab_size == size + 5
    again = finetune(tmp_path / "out", data_dir=str(tmp_path), do_eval=True)
    assert again["auprc"] == summary["auprc"]
    resumed = finetune(tmp_path / "out", **asked, do_train=True)
    assert resumed["resumed_from"] == summary["global_step"]


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"additional_special_tokens": ["두 낱말"]}, "without white space, but got '두 낱말'"),
        ({"additional_special_tokens": ["[SEP]"]}, r"'\[SEP\]' is one of BERT's own"),
        ({"entity_markers": ["<s>", "</s>", "<o>", "<o>"]}, "--entity_markers: expected four different tokens"),
        ({"score_range": ["5", "0"]}, "--score_range: expected two numbers, the lower first"),
        ({"score_range": ["1", "x"]}, "--score_range: expected two numbers"),
        ({"problem_type": "ranking"}, "--problem_type: expected one of single_label, multi_label, regression"),
        ({"threshold": 0.4}, "are for several labels, but this is single_label_classification"),
    ],
)
def test_wrong_settings_are_reported(start, tmp_path, changes, reported):
    train = write_tsv(tmp_path / "train.tsv", ("document", "label"), [("맛 좋다", "1"), ("값 나쁘다", "0")])
    with pytest.raises(InputError, match=reported):
        finetune(tmp_path / "out", train_file=train, init_checkpoint=start, do_train=True, **changes)
    assert not (tmp_path / "out/model").exists()


def test_one_label_alone_is_nothing_to_report_apart(start, tmp_path):
    train = write_tsv(tmp_path / "train.tsv", ("document", "label"), [("맛 좋다", "1"), ("값 나쁘다", "1")])
    with pytest.raises(InputError, match="expected at least 2 labels to tell apart, but all examples have '1'"):
        finetune(tmp_path / "out", train_file=train, init_checkpoint=start, do_train=True)


def test_a_file_without_pairs_beside_one_with_pairs_is_reported(start, tmp_path):
    train = write_tsv(
        tmp_path / "train.tsv", ("document", "document2", "label"), [("맛", "값", "1"), ("값", "맛", "0")]
    )
    dev = write_tsv(tmp_path / "dev.tsv", ("text", "label"), [("맛", "1")])
    with pytest.raises(InputError, match=r"dev\.tsv, line 1: expected pairs of texts, as .*train\.tsv has"):
        finetune(tmp_path / "out", train_file=train, eval_file=dev, init_checkpoint=start, do_train=True, do_eval=True)
