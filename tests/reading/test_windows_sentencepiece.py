"""Questions through a SentencePiece tokenizer: windows hold every character, answers come back whole."""

import pytest
from sentencepiece_models import kobert_folder

from kobert_tf2 import sample_data
from kobert_tf2.reading import squad_files
from kobert_tf2.reading.windows import make_windows
from kobert_tf2.tokenization.tokenizer import Tokenizer

pytest.importorskip("sentencepiece")

LENGTHS = {"max_seq_length": 64, "doc_stride": 16, "max_query_length": 24}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return Tokenizer.from_pretrained(kobert_folder(tmp_path_factory.mktemp("kobert")))


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "squad.json"
    from kobert_tf2 import files

    files.write_json(str(path), sample_data.korquad(6, seed=3, questions_each=2))
    return squad_files.read_squad(str(path))


def test_an_answer_is_the_tokens_that_its_characters_touch(tokenizer, questions):
    windows = make_windows(questions, tokenizer, with_answers=True, **LENGTHS)
    found = 0
    for i, question in enumerate(windows.question_index):
        first, last = windows.start_positions[i], windows.end_positions[i]
        if not first:
            continue
        start, end = windows.token_start[i, first], windows.token_end[i, last]
        answer = questions[question].answers[0]
        assert answer.text in questions[question].context[start:end]
        inside = windows.token_start[i, first : last + 1] < windows.token_end[i, first : last + 1]
        assert inside[[0, -1]].all(), "an answer neither begins nor ends with a piece of no character"
        found += 1
    assert found >= len(questions)


def test_every_character_of_a_context_is_in_a_window(tokenizer, questions):
    windows = make_windows(questions, tokenizer, **LENGTHS)
    for number, question in enumerate(questions):
        rows = windows.question_index == number
        spans = zip(windows.token_start[rows].ravel(), windows.token_end[rows].ravel(), strict=True)
        covered = {position for start, end in spans for position in range(max(start, 0), max(end, 0))}
        assert all(i in covered for i, char in enumerate(question.context) if not char.isspace())
