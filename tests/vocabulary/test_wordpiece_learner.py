"""tensorflow_text's learner, told about words that go on with an eojeol, and about tags."""

import pytest

from kobert_tf2.vocabulary import wordpiece_learner
from kobert_tf2.vocabulary.wordpiece_learner import LONGEST_PIECE, WordPieceLearner


def words(*spelled: str, count: int = 20) -> dict:
    """ "##를/JKO" -> ("를", "JKO", True)."""
    made = {}
    for each in spelled:
        surface, _, tag = each.removeprefix("##").partition("/")
        made[surface, tag, each.startswith("##")] = count
    return made


def spelled(pieces: list) -> set[str]:
    return {("##" if continues else "") + surface + (f"/{tag}" if tag else "") for surface, tag, continues in pieces}


def test_a_word_that_goes_on_with_an_eojeol_is_learned_with_its_sign():
    found = spelled(WordPieceLearner(words("사과", "##에서", "##를")).pieces(wanted=8))
    assert {"사과", "##에서", "##를"} <= found
    assert not {"에서", "##사과"} & found


def test_tags_keep_pieces_of_the_same_letters_apart():
    found = spelled(WordPieceLearner(words("나도/NP", "##나도/JX", "사과/NNG")).pieces(wanted=9))
    assert {"나도/NP", "##나도/JX", "사과/NNG"} <= found
    assert not {"나도/JX", "##나도/NP", "나도", "##나도"} & found


def test_no_piece_holds_a_sign_of_the_learner():
    found = WordPieceLearner(words("사과", "##나무", "##를/JKO")).pieces(wanted=30)
    assert all("#" not in surface and max(surface) < chr(0xF0000) for surface, _, _ in found)
    assert all(surface for surface, _, _ in found)
    assert found == sorted(set(found))


def test_words_that_the_learner_cannot_take_are_left_out():
    cannot = words("가" * (LONGEST_PIECE + 1), "a#b", "\U000f0001가")
    assert WordPieceLearner(cannot).pieces(wanted=10) == []
    both = WordPieceLearner({**cannot, **words("사과")}).pieces(wanted=3)
    assert "사과" in spelled(both)
    assert WordPieceLearner(words("가" * LONGEST_PIECE)).pieces(wanted=1)


def test_when_the_symbols_are_used_up_what_is_left_is_not_learned(monkeypatch):
    monkeypatch.setattr(wordpiece_learner, "_SYMBOLS", 2)
    found = spelled(WordPieceLearner(words("가나/NNG", "다라/NNG")).pieces(wanted=5))
    assert "가나/NNG" in found
    assert not any("다" in piece or "라" in piece for piece in found)


# --- The search for the threshold ---


def finder(sizes: dict[int, int], tried: list[int]):
    """Thresholds from a key on give so many pieces."""

    def find(threshold: int) -> set[int]:
        tried.append(threshold)
        return set(range(next(size for least, size in sorted(sizes.items(), reverse=True) if threshold >= least)))

    return find


@pytest.mark.parametrize(
    ("sizes", "wanted", "found"),
    [
        ({1: 1000, 5: 500, 20: 100, 50: 10}, 100, 100),
        ({1: 1000, 5: 500, 20: 100, 50: 10}, 450, 500),
        ({1: 1000, 5: 500, 20: 100, 50: 10}, 5000, 1000),  # The words have no more.
        ({1: 7}, 3, 7),
    ],
)
def test_the_highest_threshold_that_gives_enough_is_found(sizes, wanted, found):
    tried: list[int] = []
    assert len(wordpiece_learner._search(finder(sizes, tried), wanted, highest=100)) == found
    assert len(tried) <= 12
    assert min(tried) >= 1


def test_a_few_more_than_wanted_end_the_search():
    tried: list[int] = []
    assert len(wordpiece_learner._search(finder({1: 500, 10: 110, 11: 105}, tried), 100, highest=10**6)) == 110
    assert tried == [10]


def test_a_corpus_of_words_that_occur_once_is_searched_at_one():
    tried: list[int] = []
    assert len(wordpiece_learner._search(finder({1: 50}, tried), 100, highest=1)) == 50
    assert set(tried) == {1}
