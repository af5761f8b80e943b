"""One process's share: calls by name, what is whole is not made again, what is left out is counted."""

import pytest

from kobert_tf2.pretraining_data import corpus, stages
from kobert_tf2.pretraining_data.instances import DocumentTokenizer, Pieces, Settings
from kobert_tf2.pretraining_data.worker import Worker, token_counts
from kobert_tf2.tokenization.tokenizer import Tokenizer

TOKENIZER = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마"], pre_tokenizer="none")
TEXT = "가 나\n다 밖\n\n라 마\n\u200b\n가 라\n나 마\n" * 5


@pytest.fixture
def blocks(tmp_path) -> list[corpus.Block]:
    (tmp_path / "c.txt").write_text(TEXT, "utf-8")
    return list(corpus.blocks(str(tmp_path / "c.txt"), 100))


@pytest.fixture
def worker(tmp_path) -> Worker:
    (tmp_path / "work").mkdir()
    tokenizer = DocumentTokenizer(TOKENIZER, mask_unit="token")
    return Worker(tokenizer=tokenizer, unk_id=1, input_format="lines", work=str(tmp_path / "work"))


def plan(blocks: int) -> stages.Plan:
    settings = Settings(max_seq_length=8, max_predictions_per_seq=2, dupe_factor=2)
    return stages.Plan(settings=settings, pieces=Pieces.of(TOKENIZER), seed=1, blocks=blocks, shards=1)


def test_the_stages_by_their_names_make_a_shard(worker, blocks, tmp_path):
    assert len(blocks) > 1
    counts = [worker(("tokenize", number, block)) for number, block in enumerate(blocks)]
    assert sum(each["tokens"] for each in counts) == 10 * 5
    made = [worker(("make_records", plan(len(blocks)), number)) for number in range(len(blocks))]
    before = [sum(each["instances"] for each in made[:number]) for number in range(len(made))]
    shard = worker(("write_shard", plan(len(blocks)), before, "", 0, str(tmp_path / "r")))
    assert shard["instances"] == sum(each["instances"] for each in made)


def test_what_is_whole_is_not_made_again_and_what_is_damaged_is(worker, blocks, tmp_path, monkeypatch):
    first = worker.tokenize(0, blocks[0])
    path = tmp_path / "work" / "tokens-00000"
    content = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(DocumentTokenizer, "documents", None)
        assert worker.tokenize(0, blocks[0]) == first
    path.write_bytes(content[:-1])
    assert worker.tokenize(0, blocks[0]) == first
    assert path.read_bytes() == content


def test_what_is_left_out_of_a_block_is_counted():
    texts = [["가 밖", "\u200b"], ["\u200b"], ["나"]]
    documents = DocumentTokenizer(TOKENIZER, mask_unit="token").documents(texts)
    assert token_counts(texts, documents, 1) == {
        "documents": 2,
        "sentences": 2,
        "sentences_without_tokens": 2,
        "tokens": 3,
        "unknown_tokens": 1,
    }
