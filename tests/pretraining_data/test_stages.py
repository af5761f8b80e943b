"""The stages of one block and one shard: what they draw, in which order, and that nothing of it is the caller's."""

import dataclasses
import json

import numpy as np
import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import stages, tfrecord
from kobert_tf2.pretraining_data.instances import Documents, Pieces, Settings

SPECIAL, SENTENCES, LENGTH = 5, 3, 4


def documents(count: int, *, first_token: int = 0) -> Documents:
    """`count` documents of three sentences of four tokens; ids count up, so a token tells its document."""
    ids = SPECIAL + first_token + np.arange(count * SENTENCES * LENGTH, dtype=np.int32)
    return Documents(
        ids,
        np.ones(len(ids), bool),
        np.arange(0, len(ids) + 1, LENGTH),
        np.arange(0, count * SENTENCES + 1, SENTENCES),
    )


def plan(**changed) -> stages.Plan:
    special = np.zeros(20_000, bool)
    special[:SPECIAL] = True
    asked = {
        "settings": Settings(max_seq_length=16, max_predictions_per_seq=1, dupe_factor=1),
        "pieces": Pieces(pad=0, cls=2, sep=3, mask=4, special=special),
        "seed": 7,
        "blocks": 4,
        "shards": 2,
    }
    return stages.Plan(**{**asked, **changed})


def first_tokens(examples: list[bytes]) -> list[int]:
    """The first token of each instance that can be known: behind [CLS], or what stands masked there."""
    import tensorflow as tf

    found = []
    for example in examples:
        feature = tf.train.Example.FromString(example).features.feature
        ids = list(feature["input_ids"].int64_list.value)
        for position, label in zip(
            feature["masked_lm_positions"].int64_list.value, feature["masked_lm_ids"].int64_list.value, strict=True
        ):
            if position:
                ids[position] = label
        found.append(ids[1])
    return found


# --- Random numbers ---


def test_each_block_draws_numbers_of_its_own():
    """The same text in two blocks: other pairs, other masks, another order."""
    text = [documents(40)]
    made = [stages.block_records(plan(), block, text)[0] for block in (0, 1, 2)]
    assert made[0] == stages.block_records(plan(), 0, text)[0]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len(set(made[one]) & set(made[other])) < 0.2 * len(made[one])


@pytest.mark.parametrize("other", [{"seed": 8}, {"seed": -7}, {"seed": 7 + (1 << 32)}])
def test_another_seed_is_another_draw_everywhere(other):
    text, these, those = [documents(40)], plan(), plan(**other)
    assert stages.block_records(these, 0, text)[0] != stages.block_records(those, 0, text)[0]
    examples = [bytes([index]) for index in range(100)]
    assert stages.shuffled(these, 0, examples) != stages.shuffled(those, 0, examples)
    many = [dataclasses.replace(one, blocks=1000) for one in (these, those)]
    assert many[0].partners(5) != many[1].partners(5)


# --- The shuffle ---


def test_a_block_comes_shuffled():
    """The original's order, by document, is gone: neither rising nor nearly so, the place of each is any."""
    examples, counts = stages.block_records(plan(), 0, [documents(400)])
    order = np.array(first_tokens(examples), float)
    assert len(order) == counts["instances"] > 400
    rising = np.mean(np.diff(order) > 0)
    assert 0.4 < rising < 0.6
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.2


def test_a_bucket_is_a_permutation_of_what_came_and_each_its_own():
    examples = [index.to_bytes(4, "little") for index in range(500)]
    orders = [
        [int.from_bytes(example, "little") for example in stages.shuffled(plan(), bucket, examples)]
        for bucket in range(20)
    ]
    for order in orders:
        assert sorted(order) == list(range(500))
        assert abs(np.corrcoef(np.arange(500), order)[0, 1]) < 0.25
    assert len(set(map(tuple, orders))) == 20


def test_every_place_of_a_bucket_is_equally_likely():
    """Where the first of ten ends, over 4,000 buckets: each place about 400 times (19 is one deviation)."""
    places = [stages.shuffled(plan(), bucket, list(range(10))).index(0) for bucket in range(4000)]
    counts = np.bincount(places, minlength=10)
    assert counts.min() > 400 - 5 * 19
    assert counts.max() < 400 + 5 * 19


def test_the_deal_goes_on_where_the_block_before_ended():
    """Together the columns of all blocks give every bucket its share to within one record for each block's end."""
    buckets, sizes = 7, [10, 3, 25, 1, 8]
    before = np.cumsum([0, *sizes])[:-1]
    held = [
        sum(
            len(range(stages.column_of(bucket, instances_before=start, buckets=buckets), size, buckets))
            for start, size in zip(before, sizes, strict=True)
        )
        for bucket in range(buckets)
    ]
    assert sum(held) == sum(sizes)
    assert max(held) - min(held) <= 1


# --- The plan ---


def test_partners_are_others_each_once_and_never_the_block_itself():
    many = plan(blocks=40)
    for block in range(40):
        partners = many.partners(block)
        assert len(set(partners)) == len(partners) == 7
        assert block not in partners
    assert plan(blocks=1).partners(0) == []


@pytest.mark.parametrize(
    ("tokens", "shards", "buckets"),
    # (128 - 3) tokens an instance, 1.5 times, 200 + 5 * 128 + 9 * 20 bytes each, in buckets of 16 MiB and from 32 GiB
    # of records on in 2,048 of them.
    [(1000, 3, 3), (10**8, 1, 74), (10**8, 10, 80), (10**10, 1, 2048), (10**12, 100, 184_800)],
)
def test_buckets_fit_into_memory_and_are_not_too_many(tokens, shards, buckets):
    made = plan(settings=Settings(max_seq_length=128, max_predictions_per_seq=20, dupe_factor=1), shards=shards)
    counts = {"tokens": tokens, "documents": 100, "documents_cut": 0}
    assert made.for_corpus(counts).buckets == pytest.approx(buckets, rel=0.05)


def test_one_document_lends_itself_no_random_next_sentences():
    assert plan().for_corpus({"tokens": 9, "documents": 5, "documents_cut": 4}).one_document
    assert not plan().for_corpus({"tokens": 9, "documents": 5, "documents_cut": 3}).one_document
    text = [documents(1), documents(1, first_token=100)]
    assert stages.block_records(plan(one_document=True), 0, text)[1]["random_next"] == 0


# --- Files between the stages ---


def test_documents_come_back_from_their_arrays():
    for count, first in ((3, 0), (2, 70_000)):  # ids of two bytes, and of four
        text = documents(count, first_token=first)
        back = stages.documents_of(stages.token_arrays(text))
        for name in ("ids", "begins", "sentence_starts", "document_starts"):
            np.testing.assert_array_equal(getattr(back, name), getattr(text, name))


def test_each_column_of_a_record_file_can_be_read_alone(tmp_path):
    path = str(tmp_path / "records")
    examples = [b"x" * (1 + index % 5) + bytes([index]) for index in range(23)]
    stages.save_records(path, {"instances": 23}, examples, buckets=4)
    for column in range(4):
        assert stages.read_column(path, column) == tfrecord.framed(examples[column::4])
    assert stages.load_arrays(path)[0] == {"instances": 23}


def test_a_damaged_file_is_reported_wherever_the_damage_is(tmp_path):
    path = tmp_path / "tokens"
    stages.save_arrays(str(path), {"tokens": 2}, stages.token_arrays(documents(2)))
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(InputError, match="damaged; delete it and start again"):
            stages.load_arrays(str(path))
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="damaged"):
        stages.load_arrays(str(path))


def test_a_shard_says_what_it_holds(tmp_path):
    said = stages.write_shard(
        str(tmp_path / "r"), [tfrecord.framed([b"a", b"b"]), tfrecord.framed([b"c"])], compression=""
    )
    assert (said["name"], said["instances"], said["bytes"]) == ("r", 3, (tmp_path / "r").stat().st_size)
    assert list(tfrecord.read_examples(str(tmp_path / "r"))) == [b"a", b"b", b"c"]
    assert json.loads(json.dumps(said)) == said
