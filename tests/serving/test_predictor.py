"""Questions answered by a model that is loaded once: answer offsets, independence of batching, unusual input."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import kobert_tf2 as kb
from kobert_tf2.errors import InputError
from kobert_tf2.reading import answers
from kobert_tf2.reading.squad_files import Question
from kobert_tf2.reading.windows import make_windows
from kobert_tf2.serving import export, predictor

SYLLABLES = "가나다라마바사아자차카타파하은는이을를"
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SYLLABLES, *(f"##{s}" for s in SYLLABLES), ".", ",", "?"]
CONFIG = kb.BertConfig(
    vocab_size=len(VOCAB),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=64,
    initializer_range=0.4,
)
LENGTHS = {"max_seq_length": 48, "doc_stride": 12, "max_query_length": 16, "max_answer_length": 8, "n_best_size": 10}


@pytest.fixture(scope="module", params=["none", "mecab"])
def tokenizer(request):
    return kb.Tokenizer(VOCAB, pre_tokenizer=request.param)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory, tokenizer):
    folder = str(tmp_path_factory.mktemp("reader") / "model")
    kb.BertForQuestionAnswering(CONFIG).save_pretrained(folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def reader(model_dir):
    return kb.Predictor.load(model_dir, **LENGTHS)


def pairs(count: int, longest: int = 300) -> list[tuple[str, str]]:
    rng = np.random.default_rng(3)

    def text(length):
        return "".join(rng.choice([*SYLLABLES, " ", ".", "힣"], length))

    return [(text(3 + n % 30) + "?", text(1 + (n * 37) % longest)) for n in range(count)]


def test_answers_are_those_of_the_model_windows_and_decoder_one_by_one(model_dir, tokenizer, reader):
    asked = pairs(12)
    model = kb.BertForQuestionAnswering.from_pretrained(model_dir)
    questions = [Question(str(n), question, context) for n, (question, context) in enumerate(asked)]
    sizes = {name: LENGTHS[name] for name in ("max_seq_length", "doc_stride", "max_query_length")}
    windows = make_windows(questions, tokenizer, **sizes)
    outputs = model(windows.features(), training=False)
    logits = outputs["start_logits"].numpy(), outputs["end_logits"].numpy()
    expected = answers.decode(questions, windows, *logits, n_best_size=10, max_answer_length=8)
    for (_, context), (spans, *_), answer in zip(asked, expected, reader.answer_batch(asked, n_best=3), strict=True):
        assert [best["text"] for best in answer["n_best"]] == [span.text for span in spans[:3]]
        assert answer["text"] == context[answer["start"] : answer["end"]]
        assert answer["score"] == pytest.approx(spans[0].score, abs=1e-4)
        assert answer["probability"] == pytest.approx(spans[0].probability, abs=1e-4)


def test_one_by_one_and_together_give_the_same(reader):
    asked = pairs(40)
    for (question, context), answer in zip(asked, reader.answer_batch(asked), strict=True):
        alone = reader.answer(question, context)
        assert (alone["text"], alone["start"]) == (answer["text"], answer["start"])
        assert alone["score"] == pytest.approx(answer["score"], abs=1e-4)


def test_an_export_answers_as_its_model_directory(model_dir, reader, tmp_path):
    export.export(model_dir, str(tmp_path), with_text=False, **LENGTHS)
    export.export(model_dir, str(tmp_path), version=10, **LENGTHS)
    served = kb.Predictor.load(str(tmp_path))
    assert predictor.find_export(str(tmp_path)) == f"{tmp_path}/10"
    assert served.settings == reader.settings
    for ours, theirs in zip(served.answer_batch(pairs(9)), reader.answer_batch(pairs(9)), strict=True):
        assert ours["text"] == theirs["text"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_the_precision_asked_for_is_that_of_the_computation(model_dir, reader):
    half = kb.Predictor.load(model_dir, precision="bfloat16", **LENGTHS)
    scores = [[answer["score"] for answer in each.answer_batch(pairs(9))] for each in (reader, half)]
    assert scores[1] == pytest.approx(scores[0], abs=0.5)
    assert scores[1] != pytest.approx(scores[0], abs=1e-4), "both computed in float32"


def test_the_bare_answer_lies_within_the_raw_one(reader):
    for (_, context), answer in zip(pairs(30), reader.answer_batch(pairs(30)), strict=True):
        bare = answer["stripped"]
        assert bare["text"] == context[bare["start"] : bare["end"]]
        assert bare["removed"][0] + bare["text"] + bare["removed"][1] == answer["text"]
    assert "stripped" not in reader.answer("가?", "나다", strip_josa=False)


@pytest.mark.parametrize("context", ["", "  \n\t", "\u200b"])
def test_a_context_without_a_token_gives_an_empty_answer(reader, context):
    answer = reader.answer("가나?", context, n_best=2)
    assert (answer["text"], answer["start"], answer["end"], answer["probability"]) == ("", 0, 0, 0.0)
    assert answer["n_best"] == []
    assert reader.answer_batch([]) == []


def null_scores(model_dir, reader, asked) -> np.ndarray:
    """float32 [questions]: the lowest score of [CLS] over the windows, straight from the model."""
    questions = [Question(str(n), question, context) for n, (question, context) in enumerate(asked)]
    sizes = {name: LENGTHS[name] for name in ("max_seq_length", "doc_stride", "max_query_length")}
    windows = make_windows(questions, reader.tokenizer, **sizes)
    outputs = kb.BertForQuestionAnswering.from_pretrained(model_dir)(windows.features(), training=False)
    scores = (outputs["start_logits"] + outputs["end_logits"]).numpy()[:, 0]
    return np.array([scores[windows.question_index == n].min() for n in range(len(asked))])


def test_no_answer_is_given_where_its_score_is_higher_by_more_than_the_threshold(model_dir, reader):
    asked = [*pairs(12), ("가나?", " ")]
    always = reader.answer_batch(asked, n_best=4)
    expected = null_scores(model_dir, reader, asked) - [answer["score"] for answer in always]
    threshold = float(np.median(expected[:12]))
    sometimes = kb.Predictor.load(model_dir, **LENGTHS, null_score_diff_threshold=threshold)
    for answer, found, difference in zip(
        always[:12], sometimes.answer_batch(asked[:12], n_best=4), expected, strict=False
    ):
        assert found["null_score_diff"] == pytest.approx(difference, abs=1e-4)
        spans = [best["text"] for best in found["n_best"] if best["text"]]
        assert spans == [best["text"] for best in answer["n_best"]][: len(spans)]
        if difference > threshold:
            assert (found["text"], found["start"], found["end"], found["stripped"]["text"]) == ("", 0, 0, "")
            assert found["score"] == pytest.approx(answer["score"] + difference, abs=1e-4)
        else:
            assert (found["text"], found["start"]) == (answer["text"], answer["start"])
            assert found["probability"] < answer["probability"]
    nothing = sometimes.answer(*asked[12])
    assert (nothing["text"], nothing["probability"], nothing["null_score_diff"]) == ("", 1.0, answers.NO_SPAN)


@pytest.mark.parametrize("question", ["", " \u3000"])
def test_an_empty_question_is_refused_with_its_place(reader, question):
    with pytest.raises(InputError, match="question 1: the question is empty"):
        reader.answer_batch([("가?", "나"), (question, "나")])
    with pytest.raises(InputError, match="expected a question and a context as strings, but got str and NoneType"):
        reader.answer("가?", None)


def test_a_context_of_100_000_characters_is_read_to_its_end(model_dir):
    reader = kb.Predictor.load(model_dir, max_seq_length=64, doc_stride=50, max_query_length=8)
    context = "가 나다.힣 " * 14_285 + "마바.힣하"
    assert len(context) == 100_000
    answers = reader.answer("가나?", context, n_best=20)["n_best"]
    assert all(context[answer["start"] : answer["end"]] == answer["text"] != "" for answer in answers)
    windows = make_windows(
        [Question("0", "가?", context)], reader.tokenizer, max_seq_length=64, doc_stride=50, max_query_length=8
    )
    assert windows.token_end.max() == 100_000


def test_1000_questions_at_once_come_back_in_their_order(reader):
    asked = pairs(1000, longest=60)
    answers = reader.answer_batch(asked, strip_josa=False)
    assert all(
        context[answer["start"] : answer["end"]] == answer["text"]
        for (_, context), answer in zip(asked, answers, strict=True)
    )
    for place in (0, 499, 999):
        assert reader.answer(*asked[place])["start"] == answers[place]["start"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 512), min_size=1, max_size=200), st.integers(0, 100))
def test_every_window_is_computed_once_in_a_shape_that_holds_it(lengths, spare):
    lengths = np.array(lengths)
    longest = lengths.max() + spare
    seen, shapes = [], set()
    for rows, length in predictor.serving_batches(lengths, longest):
        assert (lengths[rows] <= length).all()
        assert length <= longest
        assert len(rows) == 1 or len(rows) * length <= predictor.TOKENS_IN_A_BATCH
        seen += rows.tolist()
        shapes.add((len(rows), length))
    assert sorted(seen) == list(range(len(lengths)))
    assert all((rows & (rows - 1)) == 0 for rows, _ in shapes)


def test_nothing_to_load_is_a_sentence(tmp_path, model_dir):
    with pytest.raises(InputError, match=r"nowhere: expected a model directory .* but nothing has that name"):
        kb.Predictor.load(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"there is neither config\.json"):
        kb.Predictor.load(str(tmp_path))
    with pytest.raises(InputError, match="precision: expected float32 or bfloat16"):
        kb.Predictor.load(model_dir, precision="half")
    export.export(model_dir, str(tmp_path / "embedding"), head="embedding")
    with pytest.raises(InputError, match="expected a reader, but this export's head is embedding"):
        kb.Predictor.load(str(tmp_path / "embedding"))
