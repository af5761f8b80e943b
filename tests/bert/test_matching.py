"""A checkpoint's names against a model's needs; the sentences of the report are tested in `test_pretrained.py`."""

import numpy as np
import pytest
from small_models import config

from kobert_tf2.bert import matching
from kobert_tf2.bert.checkpoint_files import Checkpoint
from kobert_tf2.bert.weight_names import is_required, keras_shape, names_in, table, transpose
from kobert_tf2.errors import InputError

SHAPES = {row: keras_shape(row, config(), 5) for row in table(2)}


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
