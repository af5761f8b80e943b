"""Words counted as the tokenizer cuts them, whatever the number of processes."""

import pytest
from vocabulary_corpus import CORPUS, NOUNS, PLACES

from kobert_tf2.errors import InputError
from kobert_tf2.vocabulary import counting
from kobert_tf2.vocabulary.counting import CorpusWord, count_words


@pytest.fixture(scope="module")
def counts():
    return count_words(CORPUS, {})


def test_words_are_counted_as_the_tokenizer_cuts_them(counts):
    assert counts[CorpusWord("서울", "", False)] == len(NOUNS)
    assert counts[CorpusWord("에서", "", True)] == len(CORPUS)
    assert CorpusWord("에서", "", False) not in counts
    with_tags = count_words(CORPUS, {"tags": True, "decompose_compounds": True})
    assert with_tags[CorpusWord("나무", "NNG", True)] == len(PLACES)


def test_the_number_of_workers_changes_nothing(counts, monkeypatch):
    monkeypatch.setattr(counting, "LINES_PER_BLOCK", 37)
    assert list(count_words(CORPUS, {}, num_workers=2).items()) == list(counts.items())


def test_held_out_lines_are_chosen_by_their_content_and_no_more_than_wanted(tmp_path, monkeypatch):
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, lines in zip(paths, (CORPUS[:100], CORPUS[100:]), strict=True):
        path.write_text("\n".join([*lines, "", lines[0]]), "utf-8")
    chosen = [line for line in [*CORPUS[:100], CORPUS[0], *CORPUS[100:], CORPUS[100]] if counting.is_held_out(line, 5)]
    with counting.counted([str(path) for path in paths], {}, 5) as (counts, kept):
        assert kept == chosen
        total = sum(counts.values())
    monkeypatch.setattr(counting, "MOST_HELD_OUT", 3)
    with counting.counted([str(path) for path in paths], {}, 5) as (counts, kept):
        assert kept == chosen[:3]
        assert sum(counts.values()) > total  # The others teach.
    with counting.counted([str(path) for path in paths], {}, 0) as (_, kept):
        assert kept == []


def test_an_empty_file_among_others_is_reported(tmp_path):
    (tmp_path / "a.txt").write_text(CORPUS[0], "utf-8")
    (tmp_path / "b.txt").write_text("\n \u3000\n", "utf-8")
    with (
        pytest.raises(InputError, match=r"b\.txt: expected text, but the file is empty"),
        counting.counted([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], {}, 0),
    ):
        pass
