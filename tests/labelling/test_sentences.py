"""Labelled sentences: what is read, what is refused, and how a row is laid out."""

import unicodedata

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import sentences
from kobert_tf2.tokenization.normalization import comparable


class SyllableTokenizer:
    """A token for each character: enough to see where rows are cut. Special ids 0 to 2, as small as they come."""

    pad_id, cls_id, sep_id = 0, 1, 2

    def encode_ids_batch(self, texts, *, num_workers=1):
        return [[ord(character) for character in text] for text in texts]


@pytest.fixture
def write(tmp_path):
    def write_file(content: str | bytes):
        path = tmp_path / "examples.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


def test_reads_documents_and_labels_as_they_stand(write):
    path = write('document\tlabel\n"참 좋다\t1\n  별로\u2028다 \t0\n\t0\n')
    assert sentences.read_tsv(path) == [
        ("2", '"참 좋다', None, "1"),
        ("3", "  별로\u2028다 ", None, "0"),
        ("4", "", None, "0"),
    ]


def test_columns_stand_in_any_order_with_others_between_and_an_id(write):
    path = write("\ufeffid\tlabel\tdocument2\trating\tdocument\r\n976\tneutral\t둘째\t9\t첫째\r\n")
    assert sentences.read_tsv(path) == [("976", "첫째", "둘째", "neutral")]


def test_a_file_to_predict_needs_no_label(write):
    path = write("document\n좋다\n")
    assert sentences.read_tsv(path, labelled=False) == [("2", "좋다", None, None)]


def test_blank_lines_are_empty_documents_only_where_they_can_be(write):
    assert [example.text for example in sentences.read_tsv(write("document\n가\n\n나\n"), labelled=False)] == [
        "가",
        "",
        "나",
    ]
    assert [example.id for example in sentences.read_tsv(write("document\tlabel\n가\t1\n\n나\t0\n\n"))] == [
        "2",
        "4",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1: expected a header"),
        ("content\tlabel\n가\t1\n", "document is missing in 'content"),
        ("좋은 영화\t1\n", "document and label is missing"),
        ("document\tlabel\n", "expected lines below the header"),
        ("document\tlabel\n가\t1\n나\t다\t0\n", "line 3: expected 2 columns as in the header, but there are 3"),
        ("document\tlabel\n가\t\n", "line 2: the label is empty"),
        ("document\tlabel\tlabel\n가\t1\t1\n", "names 'label' twice"),
        ("document\tlabel\n가\t1\n".encode("cp949"), "line 2: expected UTF-8 text"),
    ],
)
def test_wrong_files_are_answered_with_a_sentence(write, content, sentence):
    path = write(content)
    with pytest.raises(InputError, match=sentence) as error:
        sentences.read_tsv(path)
    assert path in str(error.value)


def test_names_that_look_the_same_are_the_same(write, capsys):
    nfd = unicodedata.normalize("NFD", "긍정")
    path = write(
        "\u200bid \tDocument\u00a0\t\ufefflabel\ufeff\n"
        f"가1\t좋다\t긍정\n\ufeff가\u200b2\t참\t{nfd}\u3000\n3\t별로\t부정\n"
    )
    examples = sentences.read_tsv(path)
    assert [(example.id, example.label) for example in examples] == [("가1", "긍정"), ("가2", "긍정"), ("3", "부정")]
    assert sentences.label_list(examples) == ["긍정", "부정"]
    assert capsys.readouterr().err == (
        f"{path}: 1 labels were not in NFC or had zero-width characters or other white space, and were read without "
        "(the first in line 3)\n"
    )
    assert sentences.label_ids(examples, ["부정", nfd]).tolist() == [1, 1, 0]
    with pytest.raises(InputError, match="look the same"):
        sentences.label_ids(examples, ["긍정", nfd, "부정"])


@settings(deadline=None, max_examples=100)
@given(st.text("긍정부 ab\u0301e", min_size=1, max_size=6), st.data())
def test_a_label_is_the_same_however_it_is_written(label, data):
    invisible = st.sampled_from(["", "\u200b", "\ufeff", "\u00ad", "\u2060"])
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    written = "".join(c + data.draw(invisible) for c in unicodedata.normalize(form, label.replace(" ", "\u3000")))
    assert comparable(f"\u00a0{written}\t") == unicodedata.normalize("NFC", " ".join(label.split()))


def test_all_bad_lines_are_counted_and_ten_listed(write):
    lines = ["좋다\t1", "별로", "나쁘다\t"] * 20
    path = write(b"document\tlabel\n" + "\n".join(lines).encode() + "\n참\t1".encode("cp949"))
    with pytest.raises(InputError) as error:
        sentences.read_tsv(path)
    assert str(error.value).startswith(
        f"{path}: 41 lines are wrong: line 3: expected 2 columns as in the header, but there are 1; "
        "line 4: the label is empty; line 6: "
    )
    assert "line 16: the label is empty; and 31 more; other lines are UTF-8" in str(error.value)


@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\u00a0 ", "\u200b", "\ufeff", "\u3164"])
def test_a_line_on_which_nothing_is_seen_is_blank(write, blank):
    assert len(sentences.read_tsv(write(f"document\tlabel\n가\t1\n{blank}\n나\t0\n{blank}\n"))) == 2


def test_labels_are_sorted_as_numbers_where_they_are_numbers():
    def examples(*labels):
        return [sentences.Example("1", "", None, label) for label in labels]

    assert sentences.label_list(examples("10", "2", "1", "2")) == ["1", "2", "10"]
    assert sentences.label_list(examples("neutral", "contradiction")) == ["contradiction", "neutral"]
    assert sentences.label_list(examples("--1", "2", "-3")) == ["--1", "-3", "2"]
    assert sentences.label_list(examples(unicodedata.normalize("NFD", "긍정"), "긍정\u200b", "긍정")) == ["긍정"]


def test_a_row_is_laid_out_as_the_original_does():
    examples = [
        sentences.Example("1", "abc", None, "no"),
        sentences.Example("2", "ab", "xy", "yes"),
        sentences.Example("3", "", None, "no"),
    ]
    features = sentences.make_features(examples, SyllableTokenizer(), max_seq_length=8)
    a, b, c, x, y = map(ord, "abcxy")
    assert features["input_ids"].tolist() == [
        [1, a, b, c, 2, 0, 0, 0],
        [1, a, b, 2, x, y, 2, 0],
        [1, 2, 0, 0, 0, 0, 0, 0],
    ]
    assert features["input_mask"].tolist() == [[1] * 5 + [0] * 3, [1] * 7 + [0], [1] * 2 + [0] * 6]
    assert features["segment_ids"].tolist() == [[0] * 8, [0] * 4 + [1] * 3 + [0], [0] * 8]
    assert features["labels"].tolist() == [0, 1, 0]
    assert {array.dtype for array in features.values()} == {np.dtype("int32")}


def test_a_label_never_seen_in_training_is_named():
    examples = [sentences.Example("2", "ab", None, "7")]
    with pytest.raises(InputError, match="example 2: the label '7' is not one of 0, 1"):
        sentences.make_features(examples, SyllableTokenizer(), max_seq_length=8, labels=["0", "1"])


def original_truncation(first, second, room):
    """The original's loop, token by token."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return first, second


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 16))
def test_a_pair_is_cut_as_the_original_cuts_it(first, second, room):
    first, second = list(range(first)), list(range(100, 100 + second))
    assert sentences.truncate_pair(first, second, room) == original_truncation(first, second, room)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.text("가나", max_size=9), st.none() | st.text("다", max_size=9)), min_size=1))
def test_every_row_is_full_of_text_before_it_is_padded(pairs):
    examples = [sentences.Example(str(n), text, pair, None) for n, (text, pair) in enumerate(pairs)]
    features = sentences.make_features(examples, SyllableTokenizer(), max_seq_length=7)
    needed = [sentences.length(ids) for ids in sentences.encode(examples, SyllableTokenizer())]
    assert features["input_mask"].sum(1).tolist() == [min(7, length) for length in needed]
    assert "labels" not in features
    assert ((features["input_ids"] != 0) == (features["input_mask"] == 1)).all()
