"""The table of names: the layouts of the three formats, and what a name says about its weight."""

import itertools

import numpy as np
import pytest

from kobert_tf2.bert import weight_names

FORMATS = ("keras", "tf1", "hf")
ROWS = weight_names.table(2)


@pytest.mark.parametrize(("source", "target"), itertools.product(FORMATS, FORMATS))
def test_a_layout_is_reached_directly_as_through_a_third_one(source, target):
    for row in ROWS:
        array = np.arange(6.0).reshape(2, 3) if len(row.shape.split()) == 2 else np.arange(3.0)
        direct = weight_names.transpose(array, row, source=source, target=target)
        through_keras = weight_names.transpose(
            weight_names.transpose(array, row, source=source, target="keras"), row, source="keras", target=target
        )
        assert np.array_equal(direct, through_keras), row
        assert weight_names.transpose(array.shape, row, source=source, target=target) == direct.shape


def test_an_array_that_lies_the_same_way_in_both_formats_is_not_copied():
    for row in ROWS:
        array = np.ones((2, 3))
        same = ("tf1" in row.transposed.split()) == ("hf" in row.transposed.split())
        assert (weight_names.transpose(array, row, source="tf1", target="hf") is array) == same, row


def test_every_row_is_found_by_each_of_its_names_alone():
    for file_format in FORMATS:
        names = [name for row in ROWS for name in weight_names.names_in(row, file_format)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    [
        "bert/pooler/dense/kernel/adam_m",
        "bert/pooler/dense/kernel/Adam_1",
        "global_step",
        "beta1_power",
        "bert.embeddings.position_ids",
    ],
)
def test_optimizer_state_counters_and_buffers_are_ignored(name):
    assert weight_names.is_ignored(name)


def test_no_weight_is_ignored():
    names = {name for row in ROWS for file_format in ("tf1", "hf") for name in weight_names.names_in(row, file_format)}
    assert not [name for name in names if weight_names.is_ignored(name)]


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["bert.embeddings.word_embeddings.weight"], ""),
        (["embeddings.word_embeddings.weight"], ""),
        (["module.bert.embeddings.word_embeddings.weight", "classifier.weight"], "module."),
        (["bert.bert.embeddings.word_embeddings.weight"], "bert."),
        (["model.embeddings.word_embeddings.weight"], "model."),
        (["0.auto_model.embeddings.word_embeddings.weight"], "0.auto_model."),
        (["_orig_mod.module.bert.embeddings.word_embeddings.weight"], "_orig_mod.module."),
        (["question.embeddings.word_embeddings.weight", "context.embeddings.word_embeddings.weight"], ""),
        (["roberta.embeddings.word_embeddings.weight"], ""),
        (["model.xlm_roberta.embeddings.word_embeddings.weight"], ""),
        (["electra.embeddings.word_embeddings.weight"], ""),
        (["my_embeddings.word_embeddings.weight"], ""),
        (["generator.conv.weight"], ""),
    ],
)
def test_a_wrappers_prefix_is_what_stands_before_the_one_table_of_words(names, prefix):
    assert weight_names.prefix_of_all(names, "hf") == prefix


def test_a_prefix_of_a_tf1_checkpoint_ends_with_a_slash():
    names = ["module/bert/embeddings/word_embeddings", "module/bert/embeddings/word_embeddings/adam_m"]
    assert weight_names.prefix_of_all(names, "tf1") == "module/"
