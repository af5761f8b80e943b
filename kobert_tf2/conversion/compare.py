"""One forward pass on both sides of a conversion, to show that the model is the same.

TensorFlow and PyTorch take half a gigabyte each before they hold a weight, so nothing here imports them when it is
loaded, and each side answers in a process of its own, one after the other (`parallel.in_subprocess`).
"""

import importlib.metadata
import sys

import numpy as np

from kobert_tf2 import parallel
from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.conversion import hf_forward


def compare(path: str, output: str, *, to: str, architecture: str, allow_pickle: bool = False) -> dict:
    """The answers of the model at `path` in Keras against those of what was made of it, on `sample_batch`.

    `to` is the format of `output`, `architecture` the Hugging Face class with a place for the heads at `path`.
    Returns the other side's name and the largest difference, both None where that side is not installed.
    """
    if to == "hf" and not hf_forward.is_installed():
        print("transformers and torch are not installed: the converted model was not compared", file=sys.stderr)
        return {"compared_with": None, "largest_difference": None}
    if to == "keras_hub":
        architecture = "BertModel"
    batch, ours = parallel.in_subprocess(ask_keras, path, architecture, allow_pickle=allow_pickle)
    other, theirs = _OTHER_SIDES[to](output, architecture, batch)
    largest = max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)
    print(f"largest difference from {other}: {largest:.3g} in {', '.join(ours)}", file=sys.stderr)
    return {"compared_with": other, "largest_difference": largest}


def sample_batch(config: BertConfig, *, batch: int = 3, length: int = 24, predictions: int = 5) -> dict:
    """Inputs with words from the whole vocabulary, both segments, and rows that end in padding."""
    rng = np.random.default_rng(20181011)
    length = min(length, config.max_position_embeddings)
    lengths = [max(2, length - i * length // batch) for i in range(batch)]
    mask = (np.arange(length) < np.array(lengths)[:, None]).astype(np.int32)
    segments = np.arange(length) >= length // 2 if config.type_vocab_size > 1 else np.zeros(length)
    return {
        "input_ids": rng.integers(0, config.vocab_size, mask.shape, dtype=np.int32),
        "input_mask": mask,
        "segment_ids": np.broadcast_to(segments, mask.shape).astype(np.int32) * mask,
        "masked_lm_positions": np.stack([rng.integers(0, n, predictions, dtype=np.int32) for n in lengths]),
    }


# ------------------------------------------------------------------------------------------------------------------
# The two sides
# ------------------------------------------------------------------------------------------------------------------


def ask_keras(path: str, architecture: str, *, allow_pickle: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """A batch for the model at `path`, and what our own model answers to it."""
    from kobert_tf2.bert import models
    from kobert_tf2.conversion import keras_hub, layer_by_layer

    if checkpoint_files.is_keras_hub_preset(path):
        model = keras_hub.from_preset(path)
        batch = sample_batch(model.config)
        return batch, {name: np.asarray(values) for name, values in model(batch).items()}
    batch = sample_batch(BertConfig.from_pretrained(path))
    name = _KERAS_CLASSES.get(architecture, architecture)
    answers = layer_by_layer.forward(getattr(models, name), path, batch, allow_pickle=allow_pickle)
    left_out = {"BertForMaskedLM": "next_sentence_logits", "BertForNextSentencePrediction": "masked_lm_logits"}
    answers.pop(left_out.get(architecture, ""), None)
    return batch, answers


_KERAS_CLASSES = {
    "BertModel": "BertBackbone",
    "BertForMaskedLM": "BertForPreTraining",
    "BertForNextSentencePrediction": "BertForPreTraining",
}


def _ask_transformers(output: str, architecture: str, batch: dict):
    return f"transformers {importlib.metadata.version('transformers')}", hf_forward.forward(output, batch)


def _ask_keras_hub(output: str, architecture: str, batch: dict):
    return parallel.in_subprocess(_keras_hub_answers, output, batch)


def _keras_hub_answers(output: str, batch: dict):
    from kobert_tf2.conversion import keras_hub

    return f"keras-hub {keras_hub.version()}", keras_hub.answers(output, batch)


def _read_back(output: str, architecture: str, batch: dict):
    return "the TF1 checkpoint read back", parallel.in_subprocess(ask_keras, output, architecture)[1]


_OTHER_SIDES = {"hf": _ask_transformers, "keras_hub": _ask_keras_hub, "tf1": _read_back}
