"""The outputs of a TF1 checkpoint, computed from its variables as google-research/bert's `modeling.py` does.

It is the independent side of a comparison, so it shares nothing with what is compared: neither the table of weight
names, nor the configuration's reader, nor the layers. NumPy in float32, with one layer's variables in memory. B batch,
S sequence, H hidden width, N heads, D width of a head.
"""

from collections.abc import Callable, Set

import numpy as np

from kobert_tf2 import files

Variables = Callable[[str], np.ndarray]


def forward(
    prefix: str,
    config_file: str,
    batch: dict[str, np.ndarray],
    heads: Set[str],
    *,
    scope: str = "",
    of_tokens: bool = False,
) -> dict[str, np.ndarray]:
    """The outputs of the checkpoint at `prefix` for a batch, under our names.

    `heads` are parts of the table of weights (`pooler`, `masked_lm`, `next_sentence`, `span`, `classifier`): those that
    the checkpoint has. `scope` is the prefix of its variables; `of_tokens`: the classifier labels tokens.
    """
    import tensorflow as tf

    prefix = files.without_glob(prefix)
    types = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()
    config = files.read_json(config_file)

    def variable(name: str) -> np.ndarray:
        name = scope + name
        (tensor,) = tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[types[name]]
        )  # `get_tensor` would hold two of it
        return np.asarray(tensor, np.float32)

    sequence = _encode(config, variable, batch)
    answers = {"sequence_output": sequence}
    if "pooler" in heads:
        answers["pooled_output"] = np.tanh(_dense(sequence[:, 0], variable, "bert/pooler/dense"))
    if "masked_lm" in heads:
        answers["masked_lm_logits"] = _masked_lm(config, variable, sequence, batch["masked_lm_positions"])
    if "next_sentence" in heads:
        answers["next_sentence_logits"] = _logits(answers["pooled_output"], variable, "cls/seq_relationship/")
    if "span" in heads:
        spans = _logits(sequence, variable, "cls/squad/")
        answers |= {"start_logits": spans[..., 0], "end_logits": spans[..., 1]}
    if "classifier" in heads:
        answers["logits"] = _logits(sequence if of_tokens else answers["pooled_output"], variable, "")
    return answers


def _encode(config: dict, variable: Variables, batch: dict[str, np.ndarray]) -> np.ndarray:
    ids, segments = batch["input_ids"], batch["segment_ids"]
    x = variable("bert/embeddings/word_embeddings")[ids]
    x = x + variable("bert/embeddings/token_type_embeddings")[segments]
    x = x + variable("bert/embeddings/position_embeddings")[: ids.shape[1]]
    x = _norm(config, x, variable, "bert/embeddings")
    mask_scores = (1.0 - batch["input_mask"].astype(np.float32))[:, None, None, :] * -10000.0
    for i in range(config["num_hidden_layers"]):
        x = _layer(config, x, mask_scores, variable, f"bert/encoder/layer_{i}")
    return x


def _layer(config: dict, x: np.ndarray, mask_scores: np.ndarray, variable: Variables, name: str) -> np.ndarray:
    attended = _attention(config, x, mask_scores, variable, f"{name}/attention/self")
    attended = _dense(attended, variable, f"{name}/attention/output/dense")
    x = _norm(config, x + attended, variable, f"{name}/attention/output")
    inner = _activation(config, _dense(x, variable, f"{name}/intermediate/dense"))
    return _norm(config, x + _dense(inner, variable, f"{name}/output/dense"), variable, f"{name}/output")


def _attention(config: dict, x: np.ndarray, mask_scores: np.ndarray, variable: Variables, name: str) -> np.ndarray:
    heads = config["num_attention_heads"]
    query, key, value = (  # [B, S, H] -> [B, N, S, D]
        np.stack(np.split(_dense(x, variable, f"{name}/{part}"), heads, axis=-1), axis=1)
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1])) + mask_scores
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.concatenate(list((weights @ value).swapaxes(0, 1)), axis=-1)


def _masked_lm(config: dict, variable: Variables, sequence: np.ndarray, positions: np.ndarray) -> np.ndarray:
    x = np.take_along_axis(sequence, positions[:, :, None].astype(np.int64), axis=1)
    x = _activation(config, _dense(x, variable, "cls/predictions/transform/dense"))
    x = _norm(config, x, variable, "cls/predictions/transform")
    return x @ variable("bert/embeddings/word_embeddings").T + variable("cls/predictions/output_bias")


def _dense(x: np.ndarray, variable: Variables, name: str) -> np.ndarray:
    return x @ variable(f"{name}/kernel") + variable(f"{name}/bias")


def _logits(x: np.ndarray, variable: Variables, scope: str) -> np.ndarray:
    return x @ variable(f"{scope}output_weights").T + variable(f"{scope}output_bias")


def _norm(config: dict, x: np.ndarray, variable: Variables, name: str) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt(variance + np.float32(config.get("layer_norm_eps", 1e-12)))
    return normal * variable(f"{name}/LayerNorm/gamma") + variable(f"{name}/LayerNorm/beta")


def _activation(config: dict, x: np.ndarray) -> np.ndarray:
    name = config.get("hidden_act", "gelu") or "linear"
    return _ACTIVATIONS[name.lower()](x)


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1.0 + np.tanh(np.sqrt(2 / np.pi, dtype=np.float32) * (x + 0.044715 * x**3)))


def _identity(x: np.ndarray) -> np.ndarray:
    return x


# "gelu" is the tanh form here; the other names are those that transformers may have written into a config.json.
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "gelu_new": _gelu,
    "gelu_fast": _gelu,
    "gelu_pytorch_tanh": _gelu,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "linear": _identity,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
}
