"""Blocks of a corpus: together they are the corpus, and documents stay whole."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import corpus

INVISIBLE = [
    "",
    " ",
    "\t",
    "\u3000",
    "\u00a0",
    "\u200b",
    "\u200b \u3000",
    "\ufeff",
    "\u00ad",
    "\x00",
    "\x85",
    "\u2028",
    "\u3164",
]
VISIBLE = [
    "가",
    "나 다",
    "라\u2028마",
    "사과나무",
    "\u200b마",
    "!",
    "\u3000漢",
    "\u00a0é",
    "①",
    "\u0301",
    "\ue000",
    "\U000f0000",
    "👍",
]
lines = st.lists(st.sampled_from(INVISIBLE + VISIBLE), max_size=40)


def documents_of(lines: list[str]) -> list[list[str]]:
    """The rule, said plainly."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line in VISIBLE:
            found[-1].append(line.strip())
        else:
            found.append([])
    return [document for document in found if document]


def write(path, lines: list[str], *, end: str = "\n") -> str:
    path.write_bytes("".join(line + end for line in lines).encode())
    return str(path)


@given(lines, st.integers(1, 60), st.sampled_from(["\n", "\r\n"]))
@settings(deadline=None, max_examples=80)
def test_the_documents_of_the_blocks_are_those_of_the_corpus(tmp_path_factory, lines, size, end):
    path = write(tmp_path_factory.mktemp("corpus") / "c", lines, end=end)
    assert all(corpus._is_blank((line + end).encode()) == (line in INVISIBLE) for line in lines)
    blocks = list(corpus.blocks(path, size))
    assert [block.start for block in blocks] == [0, *(block.end for block in blocks)][: len(blocks)]
    read = [document for block in blocks for document in corpus.read_documents(block)]
    if not any(block.is_cut for block in blocks):
        assert read == documents_of(lines)
    assert sum(read, []) == sum(documents_of(lines), [])  # noqa: RUF017
    assert sum(block.documents for block in blocks) == len(read)


def test_a_document_that_never_ends_is_cut_and_the_cut_is_counted(tmp_path):
    path = write(tmp_path / "c", ["가나다라"] * 100)
    blocks = list(corpus.blocks(path, 100))
    assert [block.is_cut for block in blocks] == [True] * 3 + [False]
    assert all(block.end - block.start <= 4 * 100 + 13 for block in blocks)


def test_lines_are_counted_over_blocks(tmp_path):
    path = tmp_path / "c"
    path.write_bytes("가\n\n나\n\n다\n".encode() + b"\xb0\xa1\n")
    blocks = list(corpus.blocks(str(path), 5))
    assert [block.first_line for block in blocks] == [1, 3, 5]
    with pytest.raises(InputError, match="/c, line 6: expected UTF-8"):
        corpus.read_documents(blocks[-1])


def test_a_bom_is_passed_over(tmp_path):
    path = tmp_path / "c"
    path.write_bytes(b"\xef\xbb\xbf" + "가\n".encode())
    (block,) = corpus.blocks(str(path), 100)
    assert corpus.read_documents(block) == [["가"]]


def test_a_corpus_in_utf16_is_reported_before_it_is_cut(tmp_path):
    path = tmp_path / "c"
    path.write_bytes("\ufeff가 나\n다\n".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"FF FE: it is UTF-16; .* iconv -f UTF-16"):
        list(corpus.blocks(str(path), 100))


def test_a_file_that_changes_while_it_is_read_is_reported(tmp_path):
    path = write(tmp_path / "c", ["가"])
    (block,) = corpus.blocks(path, 100)
    write(tmp_path / "c", ["나"])
    with pytest.raises(InputError, match="has changed"):
        corpus.read_documents(block)


def test_a_file_that_is_not_lines_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_LONGEST_LINE", 1 << 20)
    path = write(tmp_path / "c", ["가" * 400_000])
    with pytest.raises(InputError, match=r"/c, line 1: .* longer than 1 MiB"):
        list(corpus.blocks(path, 100))


@pytest.mark.parametrize(("size", "expected"), [(5, 1), (54_000_000, 1), (4 << 30, 4), (100 << 30, 16)])
def test_blocks_grow_with_the_corpus_but_stay_bounded(size, expected):
    assert corpus.block_bytes(size) == expected << 20


def test_paragraphs_are_split_into_sentences(tmp_path):
    pytest.importorskip("kiwipiepy", reason="needs the extra `sentences`")
    path = write(tmp_path / "c", ["바람이 분다. 배가 3.5미터 떠올랐다! 갈까?", "집에 갔다.", "", "끝이다."])
    (block,) = corpus.blocks(path, 1000)
    assert corpus.read_documents(block, input_format="paragraphs") == [
        ["바람이 분다.", "배가 3.5미터 떠올랐다!", "갈까?", "집에 갔다."],
        ["끝이다."],
    ]


def test_without_a_sentence_splitter_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    corpus._sentence_splitter.cache_clear()
    (block,) = corpus.blocks(write(tmp_path / "c", ["가"]), 100)
    with pytest.raises(InputError, match=r"pip install 'kobert_tf2\[sentences\]'"):
        corpus.read_documents(block, input_format="paragraphs")
