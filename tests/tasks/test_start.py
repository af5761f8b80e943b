"""What a run starts from: which parts begin at random, whose labels and in which order, and who refuses to begin."""

import json

import numpy as np
import pytest
import training_runs
from slow_cases import rest_slow
from small_models import config, values, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entity_files, sentences
from kobert_tf2.pretraining_data import tfrecord
from kobert_tf2.tasks import classify, pretrain, read, tag
from kobert_tf2.tokenization.tokenizer import Tokenizer

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소",
]
NAMES = ("좋음", "싫음", "모름")  # not as sorted
RUNNING = {"strategy": "one_device", "keep_checkpoints": 2, "iterations_per_loop": 10, "save_checkpoints_steps": 100}
SENTENCES = [
    ("가 나 다", "좋음"),
    ("라 마", "싫음"),
    ("바 사 아", "모름"),
    ("자", "좋음"),
    ("차 카", "싫음"),
    ("타", "모름"),
]


@pytest.fixture
def save(tmp_path):
    """Saves a model, with a tokenizer that knows a few syllables, and returns its folder."""

    def save_model(model, name: str = "begin") -> str:
        model.save_pretrained(tmp_path / name, Tokenizer(PIECES, pre_tokenizer="none"))
        return str(tmp_path / name)

    return save_model


@pytest.fixture
def classified(tmp_path):
    """Runs the classifier on sentences of its own; 0.0 as the learning rate trains nothing."""

    def run(
        begin: str | None, rows=SENTENCES, *, header: str = "document\tlabel", output: str = "out", **changed
    ) -> dict:
        path = tmp_path / "sentences.tsv"
        path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
        asked = {f"{name}_file": str(path) for name in ("train", "eval", "predict")}
        sizes = {"max_seq_length": 16, "train_batch_size": 2, "num_train_epochs": 1.0, "warmup_proportion": 0.0}
        return classify.finetune(
            classify.FinetuneSettings(
                output_dir=f"{tmp_path}/{output}", init_checkpoint=begin, **RUNNING, **asked, **(sizes | changed)
            )
        )

    return run


def predicted(summary: dict) -> list[str]:
    lines = files.read_text(summary["predictions"]).splitlines()[1:]
    return [line.split("\t")[1] for line in lines]


def id2label(summary: dict) -> dict:
    return files.read_json(f"{summary['output_dir']}/model/config.json")["id2label"]


# --- Labels ---


def test_a_classifier_predicts_and_is_scored_by_the_names_of_its_own_rows(save, classified):
    model = with_large_weights(models.BertForSequenceClassification(config(), labels=NAMES))
    begin = save(model)
    summary = classified(begin, do_eval=True, do_predict=True)
    examples = [sentences.Example("1", text, None, label) for text, label in SENTENCES]
    features = sentences.make_features(examples, Tokenizer(PIECES, pre_tokenizer="none"), max_seq_length=16)
    rows = model(features, training=False)["logits"].numpy().argmax(1)
    assert predicted(summary) == [NAMES[row] for row in rows]
    assert summary["labels"] == list(NAMES)
    assert summary["accuracy"] == np.mean(
        [NAMES[row] == label for row, (_, label) in zip(rows, SENTENCES, strict=True)]
    )


@pytest.mark.parametrize("rows", rest_slow([SENTENCES[::-1], SENTENCES, SENTENCES[:2]]))
def test_training_goes_on_with_the_rows_of_the_labels_that_the_model_knows(rows, save, classified):
    made = models.BertForSequenceClassification(
        config(classifier_dropout=0.2), labels=NAMES, problem_type="single_label_classification"
    )
    begin = save(with_large_weights(made))
    summary = classified(begin, rows, do_train=True, learning_rate=1e-9)
    assert summary["new_parts"] == []
    written = files.read_json(f"{summary['model_dir']}/config.json")
    assert written.pop("task_specific_params") == {"text-classification": {"max_seq_length": 16, "takes_pairs": False}}
    assert written == files.read_json(f"{begin}/config.json")
    trained = models.BertForSequenceClassification.from_pretrained(summary["model_dir"], require_trained=True)
    for path, value in values(trained).items():
        np.testing.assert_allclose(value, values(made)[path], atol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    ("held", "problem"),
    rest_slow(
        [(("a", "b", "c"), None), (NAMES, "regression"), (("좋음", "싫음"), None), ((*NAMES, "중립"), "regression")]
    ),
)
def test_other_labels_or_another_problem_are_a_new_head_and_that_is_said(held, problem, save, classified, capsys):
    made = models.BertForSequenceClassification(config(), labels=held, problem_type=problem)
    summary = classified(save(with_large_weights(made)), do_train=True, do_predict=True)
    assert summary["new_parts"] == ["classifier"]
    assert "that head is not used" in capsys.readouterr().err
    if problem is None or set(held) != set(NAMES):
        assert id2label(summary) == {"0": "모름", "1": "싫음", "2": "좋음"}
    trained = files.read_json(f"{summary['model_dir']}/config.json")
    assert trained["problem_type"] == "single_label_classification"
    resumed = classified(f"{summary['output_dir']}/../begin", do_train=True)
    assert (resumed["new_parts"], resumed["labels"]) == (["classifier"], summary["labels"])


@pytest.mark.slow
def test_a_model_that_numbers_its_labels_is_trained_and_scored_by_the_numbers(save, classified):
    begin = save(with_large_weights(models.BertForSequenceClassification(config(), num_labels=3)))
    rows = [(text, str(NAMES.index(label))) for text, label in SENTENCES]
    summary = classified(begin, rows, do_eval=True)
    assert summary["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert np.sum(summary["confusion"], axis=1).tolist() == [2, 2, 2]
    assert classified(begin, rows, do_train=True)["new_parts"] == []
    assert classified(begin, do_train=True, output="named")["new_parts"] == ["classifier"]


def test_the_labels_are_written_with_the_model_or_not_at_all(save, classified, monkeypatch):
    """config.json is written once, in the folder that becomes the model's when it is whole."""
    written, write = [], files.write_json
    monkeypatch.setattr(
        files, "write_json", lambda path, *args, **kwargs: (written.append(path), write(path, *args, **kwargs))
    )
    begin = save(models.BertForPreTraining(config()))
    written.clear()
    summary = classified(begin, do_train=True)
    assert summary["new_parts"] == ["classifier"]
    (path,) = [path for path in written if path.endswith("/config.json")]
    assert "/.tmp-model-" in path
    assert id2label(summary) == {"0": "모름", "1": "싫음", "2": "좋음"}


def test_several_labels_are_not_predicted_as_single_ones(save, classified):
    made = models.BertForSequenceClassification(config(), labels=NAMES, problem_type="multi_label_classification")
    summary = classified(save(with_large_weights(made)), do_predict=True)
    assert summary["problem_type"] == "multi_label_classification"
    rows = [line.split("\t") for line in files.read_text(summary["predictions"]).splitlines()[1:]]
    sums = [sum(map(float, row[2:])) for row in rows]
    assert max(abs(total - 1) for total in sums) > 0.1
    assert all(bool(row[1]) == (max(map(float, row[2:])) >= 0.5) for row in rows)


def test_a_regression_of_several_numbers_is_not_predicted(save, classified):
    begin = save(models.BertForSequenceClassification(config(), labels=NAMES, problem_type="regression"))
    with pytest.raises(InputError, match="expected a regression of one number, but this head gives 3"):
        classified(begin, do_predict=True)
    number = save(models.BertForSequenceClassification(config(), num_labels=1, problem_type="regression"), "number")
    with pytest.raises(InputError, match="--problem_type is multi_label"):
        classified(number, do_predict=True, problem_type="multi_label")


@pytest.mark.parametrize(
    ("held", "new"),
    [
        (("B-PS", "I-PS", "O", "I-LC", "B-LC"), []),
        (("O", "B-LC", "I-LC", "B-PS", "I-PS", "B-DT", "I-DT"), []),
        (("O", "B-LC", "I-LC"), ["classifier"]),
        (("O", "B-LC", "I-LC", "B-PS", "I-PS", "X"), ["classifier"]),
    ],
)
def test_a_tagger_goes_on_with_the_types_that_it_knows(held, new, save, tmp_path):
    made = with_large_weights(models.BertForTokenClassification(config(), labels=held))
    path = str(tmp_path / "entities.tsv")
    people = (entity_files.Entity(0, 1, "PS"), entity_files.Entity(2, 3, "LC"))
    entity_files.write_klue(path, [entity_files.TaggedText("1", "가 나 다", people)])
    sizes = {"max_seq_length": 12, "train_batch_size": 1, "num_train_epochs": 1.0, "learning_rate": 1e-9}
    summary = tag.finetune(
        tag.FinetuneSettings(
            output_dir=f"{tmp_path}/out",
            init_checkpoint=save(made),
            train_file=path,
            do_train=True,
            **RUNNING,
            **sizes,
        )
    )
    assert summary["new_parts"] == new
    assert summary["labels"] == (["O", "B-LC", "I-LC", "B-PS", "I-PS"] if new else list(held))
    assert list(id2label(summary).values()) == summary["labels"]


# --- Parts ---


def questions(path) -> str:
    answer = {"id": "1", "question": "가 나?", "answers": [{"text": "다 라", "answer_start": 2}]}
    data = {"version": "1", "data": [{"title": "가", "paragraphs": [{"context": "마 다 라 바", "qas": [answer]}]}]}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def read_with(tmp_path):
    def run(begin: str, **changed) -> dict:
        path = questions(tmp_path / "questions.json")
        sizes = {"max_seq_length": 20, "doc_stride": 4, "max_query_length": 6, "train_batch_size": 1}
        asked = {"train_file": path, "predict_file": path, "num_train_epochs": 1.0, "warmup_proportion": 0.0}
        settings = {"output_dir": f"{tmp_path}/out", "init_checkpoint": begin, **RUNNING, "strip_josa": False}
        return read.finetune(read.FinetuneSettings(**(settings | sizes | asked | changed)))

    return run


@pytest.fixture
def pretrain_with(tmp_path):
    def run(begin: str | None, **changed) -> dict:
        table = training_runs.features(8)
        table = {name: x % 40 if name in ("input_ids", "masked_lm_ids") else x for name, x in table.items()}
        if changed.pop("single_texts", False):
            table["segment_ids"] = table["segment_ids"] * 0
        tfrecord.write(f"{tmp_path}/r.tfrecord", table)
        lengths = {"max_seq_length": training_runs.SEQUENCE, "max_predictions_per_seq": training_runs.PREDICTIONS}
        sizes = {"train_batch_size": 4, "num_train_steps": 2, "num_warmup_steps": 0, "eval_batch_size": 4, **lengths}
        paths = {"output_dir": f"{tmp_path}/out", "input_file": f"{tmp_path}/r.tfrecord", "init_checkpoint": begin}
        settings = {"bert_config_file": None, "vocab_file": begin, **RUNNING}
        return pretrain.pretrain(pretrain.PretrainSettings(**(settings | sizes | paths | changed)))

    return run


def test_a_reader_that_was_never_trained_does_not_predict(save, read_with, tmp_path):
    begin = save(models.BertForPreTraining(config()))
    with pytest.raises(InputError, match=r"the weights hold no span head \(qa_outputs") as refused:
        read_with(begin, do_predict=True)
    assert begin in str(refused.value)
    assert not list(tmp_path.glob("out/*.json"))


def test_a_classifier_that_was_never_trained_neither_predicts_nor_is_scored(save, classified, tmp_path):
    for made, lacking in (
        (models.BertForPreTraining, "no classification head"),
        (models.BertForTokenClassification, "no pooler .* and no classification head"),
    ):
        begin = save(made(config()), made.__name__)
        for asked in ("do_predict", "do_eval"):
            with pytest.raises(InputError, match=f"the weights hold {lacking}"):
                classified(begin, **{asked: True})
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("made", [models.BertForQuestionAnswering, models.BertBackbone])
def test_a_pretraining_without_its_heads_is_not_evaluated_alone(made, save, pretrain_with):
    with pytest.raises(InputError, match=r"no masked-LM head .* and no next-sentence head"):
        pretrain_with(save(made(config())), do_eval=True)
    evaluated = pretrain_with(save(models.BertForPreTraining(config()), "whole"), do_eval=True)
    assert "masked_lm_loss" in evaluated


def test_a_training_says_which_parts_began_at_random_also_when_it_is_resumed(save, read_with, pretrain_with):
    begin = save(models.BertForPreTraining(config()))
    first = read_with(begin, do_train=True, output_dir=f"{begin}-read")
    assert first["new_parts"] == ["span"]
    assert read_with(begin, do_train=True, output_dir=f"{begin}-read")["new_parts"] == ["span"]
    answered = read_with(begin, do_predict=True, output_dir=f"{begin}-read")
    assert (answered["predictions"], "new_parts" in answered) == (1, False)
    again = pretrain_with(first["model_dir"], do_train=True)
    assert again["new_parts"] == ["pooler", "masked_lm", "next_sentence"]


def test_a_training_from_nothing_says_that_all_of_it_is_new(save, pretrain_with):
    begin = save(models.BertForPreTraining(config()))
    summary = pretrain_with(None, bert_config_file=begin, vocab_file=begin, do_train=True)
    assert summary["new_parts"] == ["encoder", "pooler", "masked_lm", "next_sentence"]


# --- One segment ---


def test_pairs_meet_a_model_of_one_segment_at_the_start(save, classified, read_with, pretrain_with, tmp_path):
    single = config(type_vocab_size=1)
    told = "with type_vocab_size 1 this model takes single texts alone, but "
    begin = save(models.BertForSequenceClassification(single, labels=NAMES))
    pairs = [(text, "나", label) for text, label in SENTENCES]
    for asked in ("do_train", "do_predict", "do_eval"):
        with pytest.raises(InputError, match=f"{told}there are pairs"):
            classified(begin, pairs, header="document\tdocument2\tlabel", **{asked: True})
    reader = save(models.BertForQuestionAnswering(single), "reader")
    for asked in ("do_train", "do_predict"):
        with pytest.raises(InputError, match=f"{told}a reader takes"):
            read_with(reader, **{asked: True})
    with pytest.raises(InputError, match=f"{told}the records hold pairs"):
        pretrain_with(save(models.BertForPreTraining(single), "pretrained"), do_train=True)
    assert not (tmp_path / "out").exists()


def test_single_texts_go_through_a_model_of_one_segment(save, classified, pretrain_with):
    single = config(type_vocab_size=1)
    begin = save(models.BertForSequenceClassification(single, labels=NAMES))
    empty = [(text, "", label) for text, label in SENTENCES]
    trained = classified(
        begin, empty, header="document\tdocument2\tlabel", do_train=True, do_eval=True, do_predict=True
    )
    assert len(predicted(trained)) == len(SENTENCES)
    begin = save(models.BertForPreTraining(single), "pretrained")
    assert pretrain_with(begin, do_train=True, single_texts=True, output_dir=f"{begin}-out")["new_parts"] == []
