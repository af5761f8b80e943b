"""What of a model is untrained, and who refuses it: nothing answers with a head that its weights do not hold."""

import re

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file
from small_models import assert_same_weights, batch, config, numpy, save_tf1, values, with_large_weights

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, heads, matching, models, weight_names
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError

# For each class: the parts that it needs, and the models here whose weights lack one of them.
NEEDS = {
    models.BertForPreTraining: ["pooler", "masked_lm", "next_sentence"],
    models.BertForQuestionAnswering: ["span"],
    models.BertForSequenceClassification: ["pooler", "classifier"],
    models.BertForTokenClassification: ["classifier"],
}
HOLDS = {
    models.BertBackbone: {"pooler"},
    **{cls: set(parts) for cls, parts in NEEDS.items()},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Each model as a model directory and as a TF1 checkpoint."""
    made = {}
    for cls in HOLDS:
        model = with_large_weights(cls(config()))
        folder = tmp_path_factory.mktemp(cls.__name__)
        model.save_pretrained(folder / "hf")
        made[cls, "hf"] = str(folder / "hf")
        made[cls, "tf1"] = save_tf1(model, folder / "tf1")
    return made


@pytest.mark.parametrize("file_format", ["hf", "tf1"])
@pytest.mark.parametrize("cls", NEEDS)
@pytest.mark.parametrize("source", HOLDS)
def test_a_model_that_must_be_trained_is_loaded_whole_or_refused_by_name(source, cls, file_format, folders):
    folder = folders[source, file_format]
    # In config.json a classifier of tokens and one of sentences differ; a TF1 checkpoint names neither.
    other_classifier = file_format == "hf" and source is not cls and "classifier" in HOLDS[source] & set(NEEDS[cls])
    lacking = set(NEEDS[cls]) - HOLDS[source] | ({"classifier"} if other_classifier else set())
    if not lacking:
        assert cls.from_pretrained(folder, require_trained=True).new_parts == ()
        return
    with pytest.raises(InputError) as refused:
        cls.from_pretrained(folder, require_trained=True)
    for part in NEEDS[cls]:
        assert (f"no {heads.DESCRIPTIONS[part]}" in str(refused.value)) == (part in lacking)
    assert str(refused.value).startswith(folder)
    assert "\n" not in str(refused.value)


def test_a_refusal_names_the_weights_as_the_file_would(folders):
    for file_format, name in (("hf", "qa_outputs.*"), ("tf1", "cls/squad/*")):
        with pytest.raises(InputError, match=re.escape(f"span head ({name})")):
            models.BertForQuestionAnswering.from_pretrained(
                folders[models.BertBackbone, file_format], require_trained=True
            )
    with pytest.raises(InputError, match=r"classification head \(output_weights\)"):
        models.BertForTokenClassification.from_pretrained(folders[models.BertBackbone, "tf1"], require_trained=True)


@pytest.mark.parametrize("cls", NEEDS)
@pytest.mark.parametrize("source", HOLDS)
def test_new_parts_are_those_that_the_weights_did_not_have(source, cls, folders):
    model = cls.from_pretrained(folders[source, "tf1"])
    assert set(model.new_parts) == set(NEEDS[cls]) - HOLDS[source]


def test_a_part_is_new_until_it_is_trained_by_whatever_means(folders):
    model = models.BertForQuestionAnswering.from_pretrained(folders[models.BertBackbone, "hf"])
    before = model.new_parts
    model.backbone.embeddings.word_embeddings.assign_add(np.ones((40, 16), "float32"))
    assert (before, model.new_parts) == (("span",), ("span",))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    zeros = np.zeros((3, 12), "float32")
    model.fit(batch(), {"start_logits": zeros, "end_logits": zeros}, verbose=0)
    assert model.new_parts == ()


def test_an_untrained_part_is_not_saved_as_if_it_were_trained(folders, tmp_path, capsys):
    model = models.BertForSequenceClassification.from_pretrained(folders[models.BertForPreTraining, "hf"], num_labels=3)
    model.save_pretrained(tmp_path / "model")
    assert "classification head is not trained yet and is left out" in capsys.readouterr().err
    assert not [name for name in load_file(tmp_path / "model/model.safetensors") if name.startswith("classifier")]
    with pytest.raises(InputError, match="no classification head"):
        models.BertForSequenceClassification.from_pretrained(tmp_path / "model", require_trained=True)
    model.set_weights([value + 0.1 for value in model.get_weights()])
    model.save_pretrained(tmp_path / "trained")
    again = models.BertForSequenceClassification.from_pretrained(tmp_path / "trained", require_trained=True)
    assert_same_weights(again, model)


def test_a_resized_vocabulary_does_not_make_a_new_head_a_trained_one(folders):
    model = models.BertForQuestionAnswering.from_pretrained(folders[models.BertBackbone, "hf"])
    assert model.resize_token_embeddings(50).new_parts == ("span",)


def test_loading_makes_no_other_head_than_the_constructor(folders):
    """A new head starts at the initial range, whatever it starts from."""
    model = models.BertForQuestionAnswering.from_pretrained(folders[models.BertBackbone, "hf"])
    kernel = values(model)["span/kernel"]
    assert 0 < np.abs(kernel).max() <= 2.3 * config().initializer_range


def contents(folder: str) -> matching.Contents:
    checkpoint = checkpoint_files.open_checkpoint(folder)
    with checkpoint as opened:
        return matching.scan(opened, BertConfig.from_pretrained(folder))


@pytest.mark.parametrize("cls", HOLDS)
def test_the_architecture_by_its_parts(cls, folders):
    name = "BertModel" if cls is models.BertBackbone else cls.__name__
    assert heads.architecture_of(contents(folders[cls, "tf1"]).parts) == name
    assert heads.describe(checkpoint_files.find_source(folders[cls, "hf"])).architecture == name


def test_every_part_and_every_output_has_its_entry():
    parts = {weight_names.part(row) for row in weight_names.table(1) if not weight_names.is_required(row)}
    assert parts == set(heads.DESCRIPTIONS) - {"encoder"}
    assert parts == {part for needed in heads.ARCHITECTURES.values() for part in needed}
    outputs = {name for cls in HOLDS for name in cls(config()).output}
    assert outputs - {"sequence_output"} == set(heads.OUTPUTS)


@pytest.mark.parametrize("values", [[], {"architectures": "BertModel"}, {"architectures": [3]}])
def test_a_configuration_of_another_form_is_a_sentence(values, tmp_path):
    files.write_json(str(tmp_path / "config.json"), values)
    source = checkpoint_files.Source("hf", str(tmp_path), "", str(tmp_path / "config.json"))
    with pytest.raises(InputError, match=r"config\.json: (expected a JSON object|architectures)"):
        heads.describe(source)


def test_the_answers_of_a_model_that_is_all_there_do_not_change_by_the_question(folders):
    folder = folders[models.BertForQuestionAnswering, "hf"]
    first = models.BertForQuestionAnswering.from_pretrained(folder, require_trained=True)
    second = models.BertForQuestionAnswering.from_pretrained(folder)
    for name, value in numpy(first(batch())).items():
        assert np.array_equal(value, numpy(second(batch()))[name])
