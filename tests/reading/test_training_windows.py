"""What a reader is trained on, and what is left out."""

from kobert_tf2.reading import training_windows
from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.squad_files import Answer, Question, Repair
from kobert_tf2.reading.training_windows import LeftOut
from kobert_tf2.tokenization.tokenizer import Tokenizer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사아", *("##" + c for c in "가나다라마바사아")]
LENGTHS = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 6}


def tokenizer(**more):
    return Tokenizer(VOCAB, pre_tokenizer="none", **more)


def question(name, context, start=None, **more):
    answers = (Answer(context[start : start + 2], start, start + 2),) if start is not None else ()
    return Question(name, "가나 다", context, answers, **more)


QUESTIONS = [question("q1", "가나 다라 마바 사아 가나다라 마바 가나", 3), question("q2", "마바 사아", 0)]


def test_questions_that_cannot_be_trained_on_are_reported():
    questions = [
        *QUESTIONS,
        Question("lost", "가", "나", (Answer("다", -1, -1),)),
        Question("bare", "가", "나"),
        Question("none", "가", "나", is_impossible=True),
    ]
    kept, left_out = training_windows.trainable(questions, with_negative=False)
    assert [q.id for q in kept] == ["q1", "q2"]
    assert [(item.id, item.kind) for item in left_out] == [
        ("lost", "answer_missing"),
        ("bare", "no_answer"),
        ("none", "impossible"),
    ]
    assert [item.detail for item in left_out] == [
        "no answer of it is in its context",
        "the file gives no answer",
        "has no answer, and version_2_with_negative is off",
    ]
    assert [q.id for q in training_windows.trainable(questions, with_negative=True)[0]] == ["q1", "q2", "none"]


def test_windows_without_the_answer_are_kept_dropped_or_sampled():
    questions = [question("q1", "가나 다라 마바 사아 " * 8, 3), question("q2", "마바 사아 " * 8, is_impossible=True)]
    windows = reading_windows.make_windows(questions, tokenizer(), with_answers=True, **LENGTHS)
    with_answer = int((windows.start_positions > 0).sum())
    impossible = int((windows.question_index == 1).sum())
    choose = {how: training_windows.choose_windows(windows, questions, how, 0) for how in ("keep", "drop", "sample")}
    assert len(choose["keep"]) == len(windows) > with_answer * 2 + impossible
    assert len(choose["drop"]) == with_answer + impossible
    assert len(choose["sample"]) == 2 * with_answer + 2 * impossible
    assert (choose["drop"].start_positions > 0).sum() == (choose["sample"].start_positions > 0).sum() == with_answer


def test_an_answer_longer_than_a_window_is_reported():
    long = Question("long", "가", "가나다라마바사아" * 5, (Answer("가나다라마바사아" * 5, 0, 40),))
    windows = reading_windows.make_windows([*QUESTIONS, long], tokenizer(), with_answers=True, **LENGTHS)
    assert [(item.id, item.kind) for item in training_windows.without_answer(windows, [*QUESTIONS, long])] == [
        ("long", "in_no_window")
    ]


def test_the_report_counts_what_was_left_out_and_repaired():
    windows = reading_windows.make_windows(QUESTIONS, tokenizer(), with_answers=True, **LENGTHS)
    chosen = training_windows.choose_windows(windows, QUESTIONS, "drop", 0)
    left_out = [LeftOut("q3", "no_answer", "why"), LeftOut("q4", "no_answer", "why"), LeftOut("q5", "impossible", "so")]
    repairs = [Repair("q1", "flag", "what"), Repair("q2", "answer_start", "where"), Repair("q1", "flag", "what")]
    report = training_windows.alignment_report(QUESTIONS, repairs, left_out, windows, chosen)
    assert report == {
        "counts": {
            "questions": 2,
            "left_out": 3,
            "left_out_impossible": 1,
            "left_out_no_answer": 2,
            "repaired_or_noted_answer_start": 1,
            "repaired_or_noted_flag": 2,
            "windows": len(windows),
            "windows_trained_on": len(chosen),
            "windows_with_answer": int(chosen.has_answer.sum()),
        },
        "left_out": [{"id": item.id, "kind": item.kind, "detail": item.detail} for item in left_out],
        "repaired_or_noted": [{"id": item.id, "kind": item.kind, "detail": item.detail} for item in repairs],
    }
    assert list(report["counts"])[2:6] == [
        *("left_out_impossible", "left_out_no_answer", "repaired_or_noted_answer_start", "repaired_or_noted_flag")
    ]
    assert len(chosen) < len(windows)
