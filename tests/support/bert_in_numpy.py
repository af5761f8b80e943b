"""BERT's forward pass in NumPy, written from the paper: a reference that shares no code with the package.

Weights are a dict keyed by TF1's names. There is no dropout. It computes in float64, so that it is the more exact side
of a comparison.
"""

import math

import numpy as np

_erf = np.vectorize(math.erf)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


def layer_norm(x, weights, name):
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return normal * weights[f"{name}/LayerNorm/gamma"] + weights[f"{name}/LayerNorm/beta"]


def dense(x, weights, name):
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attention(x, mask, weights, name, heads):
    outputs = []
    query, key, value = (dense(x, weights, f"{name}/self/{part}") for part in ("query", "key", "value"))
    for columns in np.split(np.arange(x.shape[-1]), heads):
        scores = query[:, :, columns] @ key[:, :, columns].transpose(0, 2, 1) / np.sqrt(len(columns))
        outputs.append(softmax(np.where(mask[:, None, :], scores, -np.inf)) @ value[:, :, columns])
    return np.concatenate(outputs, axis=-1)


def encode(batch, weights, *, layers, heads, gelu=gelu_tanh):
    """Returns the states after the embeddings and after every layer, and the pooled output."""
    table = {name: weights[f"bert/embeddings/{name}_embeddings"] for name in ("word", "token_type", "position")}
    x = table["word"][batch["input_ids"]] + table["token_type"][batch["segment_ids"]]
    x = layer_norm(x + table["position"][: x.shape[1]], weights, "bert/embeddings")
    states = [x]
    for i in range(layers):
        name = f"bert/encoder/layer_{i}"
        attended = attention(x, batch["input_mask"] == 1, weights, f"{name}/attention", heads)
        x = layer_norm(
            x + dense(attended, weights, f"{name}/attention/output/dense"), weights, f"{name}/attention/output"
        )
        inner = gelu(dense(x, weights, f"{name}/intermediate/dense"))
        x = layer_norm(x + dense(inner, weights, f"{name}/output/dense"), weights, f"{name}/output")
        states.append(x)
    return states, np.tanh(dense(x[:, 0], weights, "bert/pooler/dense"))


def masked_lm(sequence, positions, weights, gelu=gelu_tanh):
    x = np.take_along_axis(sequence, positions[:, :, None], axis=1)
    x = layer_norm(gelu(dense(x, weights, "cls/predictions/transform/dense")), weights, "cls/predictions/transform")
    return x @ weights["bert/embeddings/word_embeddings"].T + weights["cls/predictions/output_bias"]


def head(x, weights, name):
    """All other heads are a single dense layer whose kernel TF1 stores transposed."""
    prefix = f"{name}/" if name else ""
    return x @ weights[f"{prefix}output_weights"].T + weights[f"{prefix}output_bias"]
