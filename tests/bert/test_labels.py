"""Labels keep their places and their names: what config.json may say of them, and which head they belong to."""

import json
import textwrap

import hypothesis.strategies as st
import numpy as np
import pytest
import warm_python
from hypothesis import given, settings
from small_models import assert_same_weights, config, save_tf1, values, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import labels, models
from kobert_tf2.conversion import hf_forward, rewriting
from kobert_tf2.errors import InputError

CLASSIFIERS = [models.BertForSequenceClassification, models.BertForTokenClassification]
NAMES = ("긍정", "부정", "모름")  # not in the order of their letters
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.lists(NAME, min_size=1, unique=True), st.sampled_from([None, *labels.PROBLEM_TYPES]), st.randoms())
def test_what_is_written_is_read_back_whatever_order_its_keys_stand_in(names, problem_type, random):
    held = labels.Labels(tuple(names), problem_type)
    written = json.loads(json.dumps(held.to_config()))
    for name in ("id2label", "label2id"):
        items = list(written[name].items())
        random.shuffle(items)
        assert labels.read({**written, name: dict(items)}, "config.json", len(names)) == held


@pytest.mark.parametrize(
    ("config_json", "told"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "the ids 0 to 1 for 2 labels, but 1 is missing"),
        ({"id2label": {"1": "a", "2": "b"}}, "0 is missing"),
        ({"id2label": {"x": "a", "1": "b"}}, "whole numbers as keys, but found 'x'"),
        ({"id2label": {"-1": "a", "0": "b"}}, "'-1'"),
        ({"id2label": {"0.0": "a", "1": "b"}}, "'0.0'"),
        ({"id2label": {"0": "a", "00": "b"}}, "0 is there twice"),
        ({"id2label": {"0": "a", "1": "a"}}, "distinct names, but 'a' is there 2 times"),
        ({"id2label": {"0": "a", "1": None}}, "a name for 1, but found None"),
        ({"id2label": {"0": "a", "1": ["b"]}}, "a name for 1"),
        ({"id2label": {"0": "a", "1": True}}, "a name for 1"),
        ({"id2label": {"0": "a"}}, r"names 1 label \(a\), but the classification head has 2"),
        (
            {"id2label": {"0": "a", "1": "b", "2": "c"}},
            r"names 3 labels \(a, b, c\), but the classification head has 2",
        ),
        ({"id2label": {}}, "at least one label"),
        ({"id2label": ["a", "b"]}, "an object of ids and names"),
        ({"id2label": "a"}, "an object of ids and names"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, "id2label says that 'a' is 0, but label2id"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": ["a"]}, "label2id: expected an object"),
        ({"label2id": {"a": 0, "b": 0}}, "one id has several"),
        ({"problem_type": "ranking"}, "problem_type: expected one of single_label_classification"),
        ({"problem_type": 3}, "problem_type"),
    ],
)
def test_labels_that_cannot_be_are_one_sentence_and_nothing_is_written(config_json, told, tmp_path):
    """Whoever reads them: loading, converting, both of a model directory and of a TF1 checkpoint."""
    model = models.BertForSequenceClassification(config())
    model.save_pretrained(tmp_path / "hf")
    save_tf1(model, tmp_path / "tf1")
    for name, path in (("hf", tmp_path / "hf/config.json"), ("tf1", tmp_path / "tf1/bert_config.json")):
        held = {key: value for key, value in files.read_json(str(path)).items() if "label" not in key}
        files.write_json(str(path), held | config_json)
        for use in (
            lambda name=name: models.BertForSequenceClassification.from_pretrained(tmp_path / name),
            lambda name=name: rewriting.rewrite(f"{tmp_path}/{name}", f"{tmp_path}/out", to="hf"),
        ):
            with pytest.raises(InputError, match=told) as refused:
                use()
            assert str(refused.value).startswith(str(path))
            assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_an_id_that_stands_twice_in_the_file_is_named(tmp_path):
    """JSON's reader would keep the last one alone."""
    models.BertForSequenceClassification(config(), labels=["a", "b"]).save_pretrained(tmp_path / "model")
    path = tmp_path / "model/config.json"
    path.write_text(path.read_text().replace('"1": "b"', '"0": "b"'))
    with pytest.raises(InputError, match=r"config\.json.*'0'"):
        models.BertForSequenceClassification.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("config_json", "names"),
    [
        ({}, ("LABEL_0", "LABEL_1")),
        ({"id2label": None, "label2id": None}, ("LABEL_0", "LABEL_1")),
        ({"id2label": {"1": "a", "0": "b"}}, ("b", "a")),
        ({"id2label": {"0": 0, "1": 1}}, ("0", "1")),
        ({"label2id": {"b": 0, "a": 1}}, ("b", "a")),
        ({"id2label": {"0": "b", "1": "a"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ("b", "a")),
    ],
)
def test_labels_as_they_are_found(config_json, names):
    assert labels.read(config_json, "config.json", 2).names == names


# --- Models ---


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_every_way_a_classifier_goes_keeps_labels_problem_dropout_and_architecture(cls, tmp_path):
    made = cls(config(classifier_dropout=0.3), labels=NAMES, problem_type="multi_label_classification")
    with_large_weights(made).save_pretrained(tmp_path / "hf")
    rewriting.rewrite(f"{tmp_path}/hf", f"{tmp_path}/hf2", to="hf")
    rewriting.rewrite(f"{tmp_path}/hf2", f"{tmp_path}/tf1", to="tf1")
    rewriting.rewrite(f"{tmp_path}/tf1", f"{tmp_path}/hf3", to="hf")
    cls.from_pretrained(f"{tmp_path}/tf1").save_pretrained(tmp_path / "hf4")
    expected = files.read_json(f"{tmp_path}/hf/config.json")
    assert expected["id2label"] == {"0": "긍정", "1": "부정", "2": "모름"}
    assert expected["label2id"] == {"긍정": 0, "부정": 1, "모름": 2}
    assert expected["problem_type"] == "multi_label_classification"
    assert expected["classifier_dropout"] == 0.3
    assert expected["architectures"] == [cls.__name__]
    for name in ("hf2", "hf3", "hf4"):
        assert files.read_json(f"{tmp_path}/{name}/config.json") == expected, name
    assert_same_weights(cls.from_pretrained(tmp_path / "hf4", require_trained=True), made)
    assert made.resize_token_embeddings(50).labels == NAMES
    assert cls.from_config(made.get_config()).labels == NAMES


def test_one_classifier_is_not_written_as_the_other(tmp_path):
    """Their weights have the same names."""
    for cls, other in (CLASSIFIERS, CLASSIFIERS[::-1]):
        cls(config(), labels=NAMES).save_pretrained(tmp_path / cls.__name__)
        with pytest.raises(InputError, match=f"no classification head .* that of a {cls.__name__}"):
            rewriting.rewrite(f"{tmp_path}/{cls.__name__}", f"{tmp_path}/out", to="hf", architecture=other.__name__)
    assert not (tmp_path / "out").exists()


def test_the_settings_of_a_reader_go_along(tmp_path):
    held = {"question-answering": {"max_seq_length": 384}}
    models.BertForQuestionAnswering(config()).save_pretrained(tmp_path / "hf", task_specific_params=held)
    rewriting.rewrite(f"{tmp_path}/hf", f"{tmp_path}/tf1", to="tf1")
    rewriting.rewrite(f"{tmp_path}/tf1", f"{tmp_path}/again", to="hf")
    assert files.read_json(f"{tmp_path}/again/config.json")["task_specific_params"] == held


def test_the_head_drops_out_as_the_configuration_says():
    for rate, expected in ((None, 0.1), (0.0, 0.0), (0.4, 0.4)):
        model = models.BertForSequenceClassification(config(classifier_dropout=rate))
        assert model.get_layer("dropout").rate == expected
    for rate in (1.0, -0.1, "0.1", True):
        with pytest.raises(InputError, match="classifier_dropout"):
            config(classifier_dropout=rate)


@pytest.mark.parametrize("arguments", [{}, {"labels": NAMES}, {"num_labels": 3}])
def test_a_loaded_classifier_has_the_labels_of_its_files(arguments, tmp_path):
    model = with_large_weights(models.BertForSequenceClassification(config(), labels=NAMES))
    model.save_pretrained(tmp_path / "model")
    loaded = models.BertForSequenceClassification.from_pretrained(tmp_path / "model", **arguments)
    assert (loaded.labels, loaded.num_labels, loaded.new_parts) == (NAMES, 3, ())
    assert_same_weights(loaded, model)


@pytest.mark.parametrize("others", [("긍정", "부정"), (*NAMES, "중립"), ("a", "b", "c")])
def test_other_labels_are_a_new_head_and_that_is_said(others, tmp_path, capsys):
    model = with_large_weights(models.BertForSequenceClassification(config(), labels=NAMES))
    model.save_pretrained(tmp_path / "model")
    loaded = models.BertForSequenceClassification.from_pretrained(tmp_path / "model", labels=others)
    assert (loaded.labels, loaded.new_parts) == (others, ("classifier",))
    told = capsys.readouterr().err
    assert f"its labels are 긍정, 부정, 모름, and {', '.join(others)} are asked for: that head is not used" in told
    assert "'classifier': it starts new" in told
    for path, value in values(loaded).items():
        assert path.startswith("classifier/") or np.array_equal(value, values(model)[path]), path


def test_the_same_labels_in_another_order_are_refused(tmp_path):
    """Rows would go by another name: whoever counts on the order must know that it is not theirs."""
    models.BertForSequenceClassification(config(), labels=NAMES).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="are 긍정, 부정, 모름, in this order, but labels gives 모름, 긍정, 부정"):
        models.BertForSequenceClassification.from_pretrained(tmp_path / "model", labels=["모름", "긍정", "부정"])


def test_another_kind_of_problem_is_a_new_head(tmp_path, capsys):
    made = models.BertForSequenceClassification(config(), labels=NAMES, problem_type="regression")
    made.save_pretrained(tmp_path / "model")
    kind = "single_label_classification"
    loaded = models.BertForSequenceClassification.from_pretrained(tmp_path / "model", problem_type=kind)
    assert (loaded.labels, loaded.problem_type, loaded.new_parts) == (NAMES, kind, ("classifier",))
    assert "is for regression" in capsys.readouterr().err


def test_the_head_of_the_other_classifier_is_not_taken_for_ones_own(tmp_path, capsys):
    models.BertForTokenClassification(config(), labels=NAMES).save_pretrained(tmp_path / "tokens")
    loaded = models.BertForSequenceClassification.from_pretrained(tmp_path / "tokens")
    assert loaded.new_parts == ("classifier", "pooler")
    assert "that of a BertForTokenClassification" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"labels": ["a", "a"]}, "distinct names, but 'a'"),
        ({"labels": ["a", "b"], "num_labels": 3}, "num_labels is 3, but labels names 2: a, b"),
        ({"labels": "ab"}, "a list of names"),
        ({"labels": [0, 1]}, "a list of names"),
        ({"problem_type": "ranking"}, "problem_type: expected one of"),
    ],
)
def test_labels_of_a_new_model_are_checked(arguments, told):
    with pytest.raises(InputError, match=told):
        models.BertForTokenClassification(config(), **arguments)


# --- transformers' side ---

THEIRS = """
    import json, sys, torch, transformers
    named = {{0: "모름", 1: "긍정", 2: "부정"}}
    more = {{"id2label": named, "label2id": {{name: i for i, name in named.items()}}, "problem_type": "regression"}}
    config = transformers.BertConfig(**{config}, **more)
    for kind in ("BertForSequenceClassification", "BertForTokenClassification"):
        getattr(transformers, kind)(config).save_pretrained(sys.argv[1] + "-theirs-" + kind)
    for place, path in enumerate(sys.argv[1:]):
        config = transformers.AutoConfig.from_pretrained(path)
        kind = getattr(transformers, config.architectures[0])
        model, problems = kind.from_pretrained(path, output_loading_info=True)
        missing = len(problems["missing_keys"])
        print(json.dumps([config.id2label, config.label2id, config.problem_type, model.dropout.p, missing]))
"""


@pytest.mark.skipif(not hf_forward.is_installed(), reason="transformers and torch are not installed")
def test_transformers_and_we_find_each_others_labels_problem_and_dropout(tmp_path):
    folders = []
    for cls in CLASSIFIERS:
        folder = str(tmp_path / cls.__name__)
        made = cls(config(classifier_dropout=0.3), labels=NAMES, problem_type="multi_label_classification")
        made.save_pretrained(folder)
        rewriting.rewrite(folder, f"{folder}-tf1", to="tf1")
        rewriting.rewrite(f"{folder}-tf1", f"{folder}-again", to="hf")
        folders += [folder, f"{folder}-again"]
    sizes = {name: value for name, value in config(classifier_dropout=0.2).to_dict().items() if name != "hidden_act"}
    result = warm_python.run(["-c", textwrap.dedent(THEIRS.format(config=sizes)), *folders], imported="transformers")
    assert result.returncode == 0, result.stderr
    for line in result.stdout.splitlines():
        by_id, by_name, problem, dropout, missing = json.loads(line)
        assert tuple(by_id[str(place)] for place in range(3)) == NAMES
        assert by_name == {name: place for place, name in enumerate(NAMES)}
        assert (problem, dropout, missing) == ("multi_label_classification", 0.3, 0)
    assert len(result.stdout.splitlines()) == 4
    for cls in CLASSIFIERS:  # and we find theirs
        made = cls.from_pretrained(f"{folders[0]}-theirs-{cls.__name__}", require_trained=True)
        assert (made.labels, made.problem_type) == (("모름", "긍정", "부정"), "regression")
        assert made.config.classifier_dropout == 0.2
