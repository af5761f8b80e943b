"""The card of a model directory: the hub's metadata, facts and scores; a user's own README.md is never replaced."""

import re

import pytest
from small_models import HEADS, MODELS, config

import kobert_tf2 as kb
from kobert_tf2.bert import model_card
from kobert_tf2.training.scores import write_eval_results


def card(folder) -> str:
    return (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("cls", MODELS)
def test_every_saved_model_has_one_with_metadata_that_the_hub_reads(cls, tmp_path):
    metadata = pytest.importorskip("huggingface_hub").ModelCard
    cls(config()).save_pretrained(str(tmp_path / "model"))
    data = metadata.load(str(tmp_path / "model" / "README.md")).data
    assert (data.language, data.library_name) == ("ko", "transformers")
    tasks = ["feature-extraction", "fill-mask", "question-answering", "text-classification", "token-classification"]
    assert data.pipeline_tag == dict(zip(MODELS, tasks, strict=True))[cls]
    assert "| layers | 2 |" in card(tmp_path / "model")
    used = re.search(r"kb\.(\w+)", card(tmp_path / "model").partition("path =")[2])[1]
    assert hasattr(kb, used)


def test_labels_cannot_break_the_table(tmp_path):
    model = kb.BertForSequenceClassification(config(), labels=["좋|음", "<b>나쁨"])
    model.save_pretrained(str(tmp_path / "model"))
    assert r"| labels | 좋\|음, \<b\>나쁨 |" in card(tmp_path / "model")


def test_scores_are_added_after_the_evaluation(tmp_path):
    HEADS[1](config()).save_pretrained(str(tmp_path / "model"))
    write_eval_results(str(tmp_path), {"exact_match": 71.25, "metric": "korquad1", "total": 400})
    assert "| exact\\_match | 71.25 |" in card(tmp_path / "model")
    assert "korquad1" not in card(tmp_path / "model")
    assert model_card.is_ours(str(tmp_path / "model" / "README.md"))


@pytest.mark.parametrize("change", [lambda text: "# 내 모델\n", lambda text: text.replace("A Korean", "My Korean")])
def test_a_users_own_or_edited_card_stays(tmp_path, change):
    folder = tmp_path / "model"
    model = HEADS[1](config())
    model.save_pretrained(str(folder))
    (folder / "README.md").write_text(change(card(folder)), encoding="utf-8")
    before = card(folder)
    model.save_pretrained(str(folder))
    write_eval_results(str(tmp_path), {"exact_match": 71.25})
    assert card(folder) == before


def test_nothing_is_written_where_there_is_no_model(tmp_path):
    write_eval_results(str(tmp_path), {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["eval_results.txt"]
