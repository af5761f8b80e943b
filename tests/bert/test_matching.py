"""A checkpoint's names against a model's needs; the sentences of the report are tested in `test_pretrained.py`."""

import numpy as np
import pytest
from small_models import config

from kobert_tf2.bert import matching
from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.weight_names import is_required, keras_shape, names_in, table, transpose
from kobert_tf2.errors import InputError

SHAPES = {row: keras_shape(row, config(), 5) for row in table(2) if not row.tied_to}
DECODER = next(row for row in table(2) if row.tied_to)


def checkpoint(rows, file_format: str, *, name: int = 0, **more) -> Checkpoint:
    """A checkpoint of zeros that has these weights under the first, second ... of their names."""
    shapes = {
        names_in(row, file_format)[min(name, len(names_in(row, file_format)) - 1)]: transpose(
            SHAPES[row], row, source="keras", target=file_format
        )
        for row in rows
    }
    shapes.update(more)
    return Checkpoint("folder", file_format, shapes, lambda name: np.zeros(shapes[name], np.float32))


@pytest.mark.parametrize("name", [0, 1, 2, 3])
@pytest.mark.parametrize("file_format", ["tf1", "hf", "keras"])
def test_every_weight_is_found_under_every_name_and_read_in_every_layout(file_format, name):
    contents = matching.scan(checkpoint(SHAPES, file_format, name=name), config())
    assert set(contents.found) == set(SHAPES)
    assert contents.unknown == []
    assert contents.num_labels == 5
    for row, shape in SHAPES.items():
        assert contents.shape(row) == shape
        for target in ("keras", "tf1", "hf"):
            assert contents.read(row, target=target).shape == transpose(shape, row, source="keras", target=target)


def test_names_are_found_unused_or_ignored_and_each_is_one_of_these():
    rows = [row for row in SHAPES if is_required(row)]
    held = checkpoint(SHAPES, "tf1", own_head=(3,), global_step=())
    matched = matching.match(matching.scan(held, config()), {row: SHAPES[row] for row in rows})
    assert matched.found == rows
    assert matched.new == []
    heads = {row.tf1 for row in SHAPES if row not in rows}
    assert set(matched.unused) == heads | {"own_head"}


def test_a_checkpoint_is_scanned_once(monkeypatch):
    """However much is wrong with it, the report is made from the one scan."""
    contents = matching.scan(checkpoint(list(SHAPES)[:9], "hf"), config())
    monkeypatch.setattr(matching, "table", lambda *_: pytest.fail("scanned again"))
    with pytest.raises(InputError, match=r"missing: bert\.encoder\.layer\.1"):
        matching.match(contents, SHAPES)


# --- Names under a prefix, and names twice ---


@pytest.mark.parametrize("prefix", ["module.", "model.", "bert.", "0.auto_model."])
def test_a_prefix_is_taken_off_and_what_lies_beside_it_is_named(prefix):
    held = checkpoint(SHAPES, "hf")
    shapes = {prefix + name: shape for name, shape in held.shapes.items()} | {"classifier.weight": (5, 16)}
    contents = matching.scan(held._replace(shapes=shapes), config())
    assert set(contents.found) == set(SHAPES)
    assert contents.prefix == prefix
    assert contents.unknown == ["classifier.weight"]


def test_a_layer_too_many_is_found_behind_a_prefix():
    held = checkpoint(SHAPES, "hf")
    held = held._replace(shapes={f"module.{name}": shape for name, shape in held.shapes.items()})
    contents = matching.scan(held, config(num_hidden_layers=1))
    expected = {row: shape for row, shape in SHAPES.items() if row in contents.found}
    with pytest.raises(InputError, match=r"unexpected: module\.bert\.encoder\.layer\.1"):
        matching.match(contents, expected)


WORDS, BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
OWN_WEIGHT, OWN_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
OUTPUT_BIAS = next(row for row in SHAPES if row.hf == BIAS)


def filled(values: dict[str, float | None], *, tie: bool) -> matching.Contents:
    """A scan of a checkpoint in which each of these names is filled with a number, or is not there (`None`)."""
    held = checkpoint(SHAPES, "hf")
    sizes = {WORDS: (40, 16), OWN_WEIGHT: (40, 16), BIAS: (40,), OWN_BIAS: (40,)}
    shapes = {name: shape for name, shape in held.shapes.items() if name not in sizes}
    shapes |= {name: sizes[name] for name, value in values.items() if value is not None}
    read = lambda name: np.full(shapes[name], values.get(name) or 0.0, np.float32)  # noqa: E731
    return matching.scan(held._replace(shapes=shapes, read=read), config(tie_word_embeddings=tie))


@pytest.mark.parametrize(
    ("tie", "values", "decoder", "bias", "unknown"),
    [
        (True, {WORDS: 1, BIAS: 3}, None, BIAS, []),
        (True, {WORDS: 1, OWN_WEIGHT: 1, BIAS: 3, OWN_BIAS: 3}, None, OWN_BIAS, []),
        (True, {WORDS: 1, OWN_WEIGHT: 2, BIAS: 3, OWN_BIAS: 3}, OWN_WEIGHT, OWN_BIAS, []),
        (True, {WORDS: 1, OWN_WEIGHT: 2, BIAS: 3}, OWN_WEIGHT, BIAS, []),
        (True, {WORDS: 1, BIAS: 3, OWN_BIAS: 4}, None, OWN_BIAS, [BIAS]),
        (True, {WORDS: 1, OWN_BIAS: 4}, None, OWN_BIAS, []),
        (True, {OWN_WEIGHT: 2, BIAS: 3}, None, BIAS, []),
        (False, {WORDS: 1, OWN_WEIGHT: 1, BIAS: 3, OWN_BIAS: 3}, OWN_WEIGHT, OWN_BIAS, []),
        (False, {WORDS: 1, OWN_WEIGHT: 2, BIAS: 3}, OWN_WEIGHT, BIAS, []),
    ],
)
def test_a_decoder_counts_where_it_differs_or_is_not_tied(tie, values, decoder, bias, unknown):
    contents = filled(values, tie=tie)
    assert contents.found.get(DECODER) == decoder
    assert contents.found[OUTPUT_BIAS] == bias
    assert contents.unknown == unknown
    assert len(contents.found) == len(SHAPES) + (decoder is not None)


def test_an_untied_decoder_never_vanishes_in_a_model_that_has_no_place_for_it():
    contents = filled({WORDS: 1, OWN_WEIGHT: 2, BIAS: 3}, tie=True)
    with pytest.raises(
        InputError, match=r"no place: cls\.predictions\.decoder\.weight differs(.|\n)*tie_word_embeddings"
    ):
        matching.match(contents, SHAPES)
    without_the_head = {row: shape for row, shape in SHAPES.items() if not row.keras.startswith("masked_lm")}
    assert OWN_WEIGHT in matching.match(contents, without_the_head).unused


def test_a_decoder_of_its_own_is_never_left_to_chance():
    contents = filled({WORDS: 1, BIAS: 3}, tie=False)
    with pytest.raises(InputError, match=r"missing: cls\.predictions\.decoder\.weight \[40, 16\]"):
        matching.match(contents, {**SHAPES, DECODER: (40, 16)})
