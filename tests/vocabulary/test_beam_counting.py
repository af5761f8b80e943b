"""A vocabulary whose words Beam counted is the local one, byte for byte."""

import functools

import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`: pip install -e '.[beam,test]'")

from vocabulary_corpus import CORPUS

from kobert_tf2.errors import InputError
from kobert_tf2.vocabulary import beam_counting, counting, learning

OPTIONS = ["--runner=FnApiRunner"]
PLAIN = {"pre_tokenizer": "none"}


@pytest.fixture(autouse=True)
def several_blocks_and_parts(monkeypatch):
    monkeypatch.setattr(beam_counting, "_BLOCK_BYTES", 2000)
    monkeypatch.setattr(beam_counting, "_BLOCKS_PER_PART", 2)


@pytest.fixture
def paths(tmp_path) -> list[str]:
    """With a BOM, CRLF, empty lines, no line end at the end, and a line longer than a block."""
    contents = [
        b"\xef\xbb\xbf" + "\r\n".join(CORPUS[:90]).encode(),
        "\n\n".join([*CORPUS[60:], " ".join(CORPUS[:60]), "뷁" + CORPUS[0], ""]).encode(),
    ]
    made = [tmp_path / f"corpus-{index}.txt" for index in range(len(contents))]
    for path, content in zip(made, contents, strict=True):
        path.write_bytes(content)
    return list(map(str, made))


def beam(work) -> learning.Counter:
    return functools.partial(beam_counting.counted, options=OPTIONS, work=str(work))


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "asked",
    [
        {"settings": {}, "held_out": 7},
        {"settings": {"tags": True, "decompose_compounds": True}, "model": "morpheme", "num_unused": 3},
        {"settings": {"pre_tokenizer": "none"}, "held_out": 0, "min_frequency": 1},
        {"settings": {"continuation": "morpheme", "do_lower_case": True}, "special_style": "<CLS>", "vocab_size": 60},
    ],
)
def test_the_vocabulary_is_the_local_one(tmp_path, paths, asked):
    asked = {"vocab_size": 260, "held_out": 20, **asked}
    local = learning.build(paths, str(tmp_path / "local"), **asked)
    assert learning.build(paths, str(tmp_path / "beam"), **asked, counter=beam(tmp_path / "work")) == local
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert not (tmp_path / "work").exists()


def test_the_counts_and_the_held_out_lines_are_the_local_ones(tmp_path, paths, monkeypatch):
    monkeypatch.setattr(counting, "MOST_HELD_OUT", 9)
    with (
        counting.counted(paths, {}, 5) as (expected, kept),
        beam(tmp_path / "work")(paths, {}, 5) as (counts, kept_by_beam),
    ):
        assert (dict(counts.items()), kept_by_beam) == (expected, kept)
        assert (len(counts), sum(counts.values()), set(counts)) == (
            len(expected),
            sum(expected.values()),
            set(expected),
        )
        word = next(iter(expected))
        assert counts[word] == expected[word]
        assert counting.CorpusWord("없는말", "", False) not in counts


def test_what_was_counted_is_not_counted_again_unless_the_text_has_changed(tmp_path, paths, monkeypatch):
    """The work of a run that was killed after the counting."""
    count = beam(tmp_path / "work")
    monkeypatch.setattr(beam_counting.WorkFolder, "remove", lambda self: self.release())
    with count(paths, PLAIN, 5) as (counts, _):
        expected = dict(counts.items())
    counted: list[int] = []
    real = counting.count_keys
    monkeypatch.setattr(counting, "count_keys", lambda segmenter, lines: counted.append(1) or real(segmenter, lines))
    with count(paths, PLAIN, 5) as (counts, _):
        assert dict(counts.items()) == expected
    assert not counted
    with open(paths[1], "ab") as file:
        file.write("새말 새말 첫말\n".encode())
    with count(paths, PLAIN, 5) as (counts, _):
        assert counts[counting.CorpusWord("새말", "", False)] == 2
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n \n", r"other\.txt: expected text, but the file is empty"),
        (b"", r"other\.txt: expected text, but the file is empty"),
        (("가\n" * 900 + "나").encode() + b"\xb0\n", r"other\.txt, line 901: expected UTF-8 text, but byte 4"),
        ("\ufeff가".encode("utf-16-le"), r"other\.txt: expected UTF-8 text, .*UTF-16"),
    ],
)
def test_wrong_text_is_the_sentence_of_the_local_run_and_leaves_nothing(tmp_path, paths, content, said):
    other = tmp_path / "other.txt"
    other.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=said):
        learning.build([*paths, str(other)], str(tmp_path / "out"), settings={}, counter=beam(tmp_path / "out.work"))
    assert sorted(tmp_path.iterdir()) == before
