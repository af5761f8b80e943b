"""How a reader reads: what is given, what a model keeps, what neither says; and what is no setting."""

import json

import numpy as np
import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.reading.settings import ReadingSettings, strips_josa
from kobert_tf2.tokenization.tokenizer import Tokenizer

KEPT = {"max_seq_length": 100, "doc_stride": 20, "max_query_length": 30, "max_answer_length": 9, "n_best_size": 4}


def keep(folder, values, **beside) -> str:
    """A config.json of ours, or, with `kobert_tf2=None`, of somebody else."""
    path = folder / "config.json"
    config = {"kobert_tf2": {}, "task_specific_params": {"question-answering": values}, **beside}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return str(path)


def test_settings_come_back_from_the_file_of_a_model(tmp_path):
    settings = ReadingSettings(**KEPT, null_score_diff_threshold=-1.5, strip_josa=False)
    path = keep(tmp_path, settings.to_config()["question-answering"])
    assert ReadingSettings.fitting(512, kept=ReadingSettings.kept_in(path)) == settings


@pytest.mark.parametrize("config", [{}, {"task_specific_params": None}, {"task_specific_params": {"summary": {}}}])
def test_a_model_that_keeps_nothing_is_read_by_the_defaults(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    kept = ReadingSettings.kept_in(str(tmp_path / "config.json"))
    assert kept == {}
    assert ReadingSettings.fitting(512, kept=kept) == ReadingSettings()
    assert ReadingSettings.fitting(64) == ReadingSettings(max_seq_length=64, max_query_length=16, doc_stride=22)


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"doc_stride": 11, "n_best_size": None}, {"doc_stride": 11}),
        ({"max_seq_length": 100}, {}),
        # The stride and the query length of another window are no use: they are fitted to the new one.
        ({"max_seq_length": 40}, {"max_seq_length": 40, "max_query_length": 10, "doc_stride": 13}),
        ({"max_seq_length": 40, "doc_stride": 5}, {"max_seq_length": 40, "max_query_length": 10, "doc_stride": 5}),
        ({"null_score_diff_threshold": 0.0}, {"null_score_diff_threshold": 0.0}),
        ({"strip_josa": True}, {"strip_josa": True}),
    ],
)
def test_what_is_given_stands_before_what_was_kept(given, changed):
    assert ReadingSettings.fitting(512, kept=KEPT, **given) == ReadingSettings(**KEPT | changed)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1], "expected an object"),
        ({"stride": 3}, "expected an object of max_seq_length, .*'stride'"),
        ({"doc_stride": "3"}, "expected doc_stride to be a whole number, but got '3'"),
        ({"doc_stride": 3.5}, "expected doc_stride to be a whole number, but got 3.5"),
        ({"doc_stride": True}, "expected doc_stride to be a whole number, but got True"),
        ({"null_score_diff_threshold": []}, "to be a number or null"),
        ({"strip_josa": 1}, "to be true, false or null"),
    ],
)
def test_what_is_no_setting_is_refused_with_its_file_and_name(tmp_path, values, sentence):
    with pytest.raises(InputError, match=f"config.json, task_specific_params, question-answering: .*{sentence}"):
        ReadingSettings.kept_in(keep(tmp_path, values))


@pytest.mark.parametrize(
    ("values", "kept", "said"),
    [
        ({"max_answer_len": 15, "topk": 1}, {}, "no settings of ours: max_answer_len, topk"),
        ({"doc_stride": 64, "handle_impossible_answer": True}, {"doc_stride": 64}, "ours: handle_impossible_answer"),
        ({"doc_stride": "64"}, {}, "no settings of ours: doc_stride"),
        ({"max_seq_length": 4096}, {}, "they do not fit this model: max_seq_length"),
        ({"max_seq_length": 20, "max_query_length": 19}, {}, "do not fit this model"),
        ([1], {}, ""),
        (KEPT, KEPT, ""),
    ],
)
def test_of_a_foreign_file_what_can_be_used_is(tmp_path, capsys, values, kept, said):
    assert ReadingSettings.kept_in(keep(tmp_path, values, kobert_tf2=None)) == kept
    error = capsys.readouterr().err
    assert said in error
    assert bool(said) == bool(error)


def test_what_a_foreign_file_says_must_fit_its_own_positions(tmp_path, capsys):
    small = keep(tmp_path, {"max_seq_length": 100, "doc_stride": 20}, kobert_tf2=None, max_position_embeddings=64)
    assert ReadingSettings.kept_in(small) == {}
    said = capsys.readouterr().err
    assert said.endswith("not used, because they do not fit this model: max_seq_length, doc_stride\n")
    large = keep(tmp_path, {"max_seq_length": 1000}, kobert_tf2=None, max_position_embeddings=1024)
    assert ReadingSettings.kept_in(large) == {"max_seq_length": 1000}


def test_kept_lengths_that_the_model_cannot_take_are_refused():
    with pytest.raises(InputError, match="at most the model's max_position_embeddings, 64, but got 100"):
        ReadingSettings.fitting(64, kept=KEPT)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"doc_strid": 3}, "expected an object of max_seq_length, .*'doc_strid'"),
        ({"max_seq_length": "64"}, "expected max_seq_length to be a whole number, but got '64'"),
        ({"n_best_size": 2.5}, "expected n_best_size to be a whole number, but got 2.5"),
        ({"n_best_size": 0}, "n_best_size: expected at least 1"),
        ({"null_score_diff_threshold": "0"}, "to be a number or null"),
        ({"null_score_diff_threshold": float("nan")}, "expected a number, but got nan"),
        ({"strip_josa": "no"}, "to be true, false or null"),
    ],
)
def test_what_a_caller_gives_is_checked_by_name(given, sentence):
    with pytest.raises(InputError, match=sentence):
        ReadingSettings.fitting(512, **given)


def test_numbers_of_numpy_are_numbers():
    settings = ReadingSettings.fitting(512, n_best_size=np.int64(3), null_score_diff_threshold=np.float32(0.5))
    assert (settings.n_best_size, settings.null_score_diff_threshold) == (3, 0.5)
    assert json.dumps(settings.to_dict())


@pytest.mark.parametrize(
    ("pre_tokenizer", "asked", "strips"),
    [
        ("mecab", None, False),
        ("none", None, True),
        *((kind, yes, yes) for kind in ("mecab", "none") for yes in (True, False)),
    ],
)
def test_particles_go_by_default_where_the_tokenizer_knows_no_morphemes(pre_tokenizer, asked, strips):
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "##가"], pre_tokenizer=pre_tokenizer)
    assert strips_josa(asked, tokenizer) is strips
