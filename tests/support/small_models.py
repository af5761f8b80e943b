"""Toy-sized models and checkpoints made from them, shared by the tests of several packages."""

import json

import keras
import numpy as np

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, models, pretrained, weight_names

HEADS = [
    models.BertForPreTraining,
    models.BertForQuestionAnswering,
    models.BertForSequenceClassification,
    models.BertForTokenClassification,
]
MODELS = [models.BertBackbone, *HEADS]


def config(**changes) -> models.BertConfig:
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
    }
    return models.BertConfig(**{**sizes, **changes})


def batch(rows: int = 3, length: int = 12, predictions: int = 4) -> dict:
    """Makes a batch in which every row has a different length of padding."""
    rng = np.random.default_rng(rows * length)
    lengths = [length - 3 * i % length for i in range(rows)]
    return {
        "input_ids": rng.integers(0, 40, (rows, length), dtype=np.int32),
        "input_mask": (np.arange(length) < np.array(lengths)[:, None]).astype(np.int32),
        "segment_ids": rng.integers(0, 2, (rows, length), dtype=np.int32),
        "masked_lm_positions": rng.integers(0, min(lengths), (rows, predictions), dtype=np.int32),
    }


def with_large_weights(model):
    """Gives the model weights large enough to affect every output: at the initial 0.02 the effect of a wrong mask or
    activation would be below the tolerance.
    """
    rng = np.random.default_rng(3)
    for variable in model.weights:
        centre = 1.0 if variable.path.endswith("gamma") else 0.0
        variable.assign(rng.normal(centre, 0.3, variable.shape))
    return model


def numpy(outputs: dict) -> dict:
    return {name: keras.ops.convert_to_numpy(values) for name, values in outputs.items()}


def assert_close(ours: dict, theirs: dict, tolerance: float = 1e-5):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].shape == theirs[name].shape, name
        assert np.abs(ours[name] - theirs[name]).max(initial=0) <= tolerance, name


def with_a_value_for_every_weight(model):
    """Makes all weights distinct, so that a round trip cannot pass because two weights are equal."""
    start = 0
    for variable in model.weights:
        size = int(np.prod(variable.shape))
        variable.assign(np.arange(start, start + size, dtype=np.float32).reshape(variable.shape) / 7)
        start += size
    return model


def values(model) -> dict:
    return {variable.path: variable.numpy() for variable in model.weights}


def assert_same_weights(ours, theirs):
    assert values(ours).keys() == values(theirs).keys()
    for path, value in values(ours).items():
        assert np.array_equal(value, values(theirs)[path]), path


def save_tf1(model, folder, **more):
    """Saves our weights under TF1's names, with the other variables of a trained checkpoint."""
    folder.mkdir(exist_ok=True)
    arrays = {
        row.tf1: weight_names.transpose(v.numpy(), row, source="keras", target="tf1")
        for row, v in pretrained.variables(model).items()
    }
    arrays.update(more)
    checkpoint_files.write_tf1(str(folder / "bert_model.ckpt"), arrays, arrays.get)
    files.write_json(str(folder / "bert_config.json"), model.config.to_google_dict())
    return str(folder)


def write_config(folder, values: dict, *, drop: tuple[str, ...] = ()) -> str:
    """Writes the small model's `config.json` to `folder`, with these values, without those keys; returns its path."""
    sizes = {name: value for name, value in config().to_dict().items() if name not in drop}
    path = folder / "config.json"
    path.write_text(json.dumps({**sizes, **values}))
    return str(path)
