"""The table of keys: what it gives is what `cut` gave, whichever way a key was looked up."""

import concurrent.futures
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kobert_tf2.tokenization import word_cache
from kobert_tf2.tokenization.word_cache import (
    PieceLists,
    PieceTable,
    packed_arrays,
    packed_count,
    packed_ids,
    packed_lists,
)


class Cut:
    """A token for each character; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, key):
        self.asked.append(key)
        return [number for char in key for number in (ord(char), 0, 1, 0)]


def looked_up(table, keys):
    """What the table finds, as strings again."""
    tokens, begin = table.look_up("".join(f"{key}\n" for key in keys))
    assert (tokens.shape, tokens.dtype, begin.shape) == ((begin[-1], 4), np.int32, (len(keys) + 1,))
    return ["".join(map(chr, tokens[start:end, 0])) for start, end in itertools.pairwise(begin)]


def no_hash(lines):
    return np.full(len(lines.ends), 7, np.uint64)


def weak_hash(lines):
    return (lines.code_points[lines.starts] % 5).astype(np.uint64)


@pytest.mark.parametrize("hashes", [None, no_hash, weak_hash])
@settings(deadline=None, max_examples=60)
@given(blocks=st.lists(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=4), max_size=30), max_size=4))
def test_every_key_gives_what_it_was_cut_into(hashes, blocks):
    """However bad the hash: what it finds is compared."""
    cut = Cut()
    table = PieceTable(cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_cache, "_SHORT", 3)
        if hashes:
            patch.setattr(word_cache._Lines, "hashes", hashes)
        for keys in blocks:
            assert looked_up(table, keys) == keys
    assert len(cut.asked) == len(set(cut.asked)) == len(table)


def test_a_short_block_and_a_long_one_share_what_they_know():
    cut = Cut()
    table = PieceTable(cut)
    words = [f"단어{i}" for i in range(1000)]
    assert looked_up(table, words) == words
    assert looked_up(table, words[:3]) == words[:3]
    assert looked_up(table, ["새말"]) == ["새말"]
    assert looked_up(table, [*words, "새말"]) == [*words, "새말"]
    assert cut.asked == [*words, "새말"]


def test_hashes_of_a_real_number_of_words_differ():
    words = sorted(
        {f"{a}{b}{c}" for a in map(chr, range(0xAC00, 0xAC30)) for b in "가나다라 " for c in map(str, range(500))}
    )
    lines = word_cache._Lines.of("".join(f"{word}\n" for word in words))
    hashes = lines.hashes()
    assert len(np.unique(hashes)) == len(words) > 100_000
    # They fill the slots as chance would: of n in s slots, about s (1 - exp(-n / s)) are taken.
    for which in range(2):
        taken = len(np.unique(word_cache._slots(hashes, which)))
        slots = 1 << word_cache._SLOT_BITS
        assert taken == pytest.approx(slots * (1 - np.exp(-len(words) / slots)), rel=0.03)


@pytest.mark.parametrize("short", [0, 10_000])
def test_threads_may_share_a_table(monkeypatch, short):
    monkeypatch.setattr(word_cache, "_SHORT", short)
    table = PieceTable(Cut(), limit=3_000)
    blocks = [[f"{block}말{i}" for i in range(200)] for block in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda keys: looked_up(table, keys), blocks)) == blocks


def test_lists_give_packed_tokens_and_ask_once():
    asked = []

    def cut(key):  # a token for each character but spaces, which are gaps
        asked.append(key)
        numbers, gap = [], 0
        for char in key:
            numbers += () if char == " " else (ord(char), gap, 1, 0)
            gap = gap + 1 if char == " " else 0
        return numbers

    lists = PieceLists(cut, limit=3)
    keys = [" 가", "나", "  다라", "", "가"]
    text = "".join(keys)
    assert packed_ids(lists.tokens(keys)) == [ord(char) for char in "가나다라가"]
    starts = [place for place, char in enumerate(text) if char != " "]
    for begin in (0, -1):
        columns = packed_arrays(lists.tokens(keys), begin)
        expected = packed_ids(lists.tokens(keys)), [s + begin for s in starts], [s + begin + 1 for s in starts]
        assert tuple(column.tolist() for column in columns) == expected == packed_lists(lists.tokens(keys), begin)
        assert {column.dtype for column in columns} == {np.dtype(np.int32)}
    assert [len(column) for column in packed_arrays(lists.tokens([]), 0)] == [0, 0, 0]
    assert (packed_ids(b""), packed_count(b""), packed_count(lists.tokens(keys))) == ([], 0, 5)
    assert asked[:5] == keys
    assert len(lists) <= 3
    twice = PieceLists(cut)
    twice.tokens(keys)
    del asked[:]
    twice.tokens(keys)
    assert asked == []


def test_threads_may_share_lists_that_overflow():
    cut = Cut()
    lists = PieceLists(cut, limit=50)
    blocks = [[f"{block}말{i}" for i in range(100)] for block in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda keys: "".join(map(chr, packed_ids(lists.tokens(keys)))), blocks)
        assert list(found) == ["".join(keys) for keys in blocks]


def test_a_hash_depends_on_the_line_alone():
    once, again = (word_cache._Lines.of(lines).hashes() for lines in ("가\n나다\n", "앞에\n가\n사이\n나다\n"))
    assert once.tolist() == again[[1, 3]].tolist()


def test_a_long_block_is_looked_up_in_parts(monkeypatch):
    monkeypatch.setattr(word_cache, "_SHORT", 3)
    monkeypatch.setattr(word_cache, "_LONG", 10)
    cut = Cut()
    table = PieceTable(cut)
    keys = ["가나", "", "다", "라마바사아자차카타파하" * 3, "", "가나", "긴" * 9, "긴" * 10, "긴" * 11, "끝"]
    assert looked_up(table, keys * 2) == keys * 2
    assert len(cut.asked) == len(set(keys))


@pytest.mark.parametrize("long", [False, True])
def test_a_table_starts_over_when_it_is_full(monkeypatch, long):
    if long:
        monkeypatch.setattr(word_cache, "_SHORT", 0)
    cut = Cut()
    table = PieceTable(cut, limit=3)
    for _ in range(2):
        assert looked_up(table, ["가나", "", "다", "가나"]) == ["가나", "", "다", "가나"]
    assert cut.asked == ["가나", "", "다", "가나", "", "다"]
