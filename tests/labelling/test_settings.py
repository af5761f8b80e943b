"""What a classifier or a tagger keeps beside its weights: read back as written, checked, others' keys left alone."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kobert_tf2.errors import InputError
from kobert_tf2.labelling.relations import MARKERS
from kobert_tf2.labelling.settings import ClassifierSettings, TaggerSettings

NAMES = ["방", "맛", "값"]
CLASSIFIERS = st.builds(
    ClassifierSettings,
    max_seq_length=st.none() | st.integers(4, 512),
    takes_pairs=st.none() | st.booleans(),
    thresholds=st.none() | st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1),
    score_range=st.none() | st.just((0.0, 5.0)),
    markers=st.none() | st.just(list(MARKERS)),
)
TAGGERS = st.builds(
    TaggerSettings,
    max_seq_length=st.none() | st.integers(4, 512),
    doc_stride=st.none() | st.integers(1, 128),
    strip_josa=st.none() | st.booleans(),
)


def write(path, params) -> str:
    path.write_text(json.dumps({"model_type": "bert", "task_specific_params": params}), encoding="utf-8")
    return str(path)


@settings(deadline=None, max_examples=50)
@given(CLASSIFIERS, TAGGERS)
def test_what_is_kept_is_read_back(tmp_path_factory, classifier, tagger):
    path = write(tmp_path_factory.mktemp("kept") / "config.json", {**classifier.to_config(), **tagger.to_config()})
    assert ClassifierSettings.kept_in(path, NAMES) == classifier
    assert TaggerSettings.kept_in(path) == tagger


@pytest.mark.parametrize("params", [None, {}, {"summarization": {"length": 3}}, {"text-classification": {"foo": [1]}}])
def test_what_others_keep_there_is_passed_over(tmp_path, params):
    path = write(tmp_path / "config.json", params)
    assert ClassifierSettings.kept_in(path, NAMES) == ClassifierSettings()
    assert TaggerSettings.kept_in(path) == TaggerSettings()
    assert TaggerSettings.kept_in(str(tmp_path / "none.json")) == TaggerSettings()


@pytest.mark.parametrize(
    ("params", "reported"),
    [
        ([1], "task_specific_params: expected an object, but got a JSON list"),
        ({"token-classification": 3}, "token-classification: expected an object, but got a whole number"),
        ({"token-classification": {"doc_stride": 0}}, "doc_stride to be a whole number of at least 1, but got 0"),
        ({"token-classification": {"max_seq_length": True}}, "max_seq_length to be a whole number"),
        ({"token-classification": {"strip_josa": "yes"}}, "strip_josa to be true or false"),
    ],
)
def test_wrong_values_are_named(tmp_path, params, reported):
    with pytest.raises(InputError, match=f"config.json, .*{reported}"):
        TaggerSettings.kept_in(write(tmp_path / "config.json", params))
