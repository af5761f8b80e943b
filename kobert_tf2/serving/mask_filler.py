"""Predicts words for the masks of a text with a pre-trained model, to inspect what the model has learned."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.inference import INPUTS, compiled, dtype_policy
from kobert_tf2.bert.models import BertForPreTraining
from kobert_tf2.errors import InputError
from kobert_tf2.serving import requests
from kobert_tf2.serving.export import check_vocabulary
from kobert_tf2.serving.requests import MAX_CANDIDATES, Mask
from kobert_tf2.tokenization.tokenizer import Tokenizer


class MaskFiller:
    """Fills masks. Create one with `MaskFiller.load`; it is thread-safe."""

    def __init__(self, forward: Callable[..., dict], tokenizer: Tokenizer, *, max_seq_length: int, keep_alive: Any):
        self._forward, self.keep_alive = forward, keep_alive
        self.tokenizer, self.max_seq_length = tokenizer, max_seq_length

    @classmethod
    def load(cls, path: str | os.PathLike, *, precision: str = "float32") -> "MaskFiller":
        """Loads a model directory or a hub id.

        Raises:
            InputError: there is nothing to load, or the model has no trained masked-LM head.
        """
        path = os.fspath(path)
        model = BertForPreTraining.from_pretrained(path, dtype=dtype_policy(precision))
        if {"encoder", "masked_lm"} & set(model.new_parts):
            raise InputError(f"{path}: the weights hold no masked-LM head, so its answers would be random")
        tokenizer = Tokenizer.from_pretrained(checkpoint_files.find_source(path).folder)
        check_vocabulary(model.config, tokenizer)
        pieces = len(tokenizer.vocab)

        def best(outputs: dict) -> dict:
            # Rows of the embedding table without a piece are excluded from the candidates.
            probabilities = tf.nn.softmax(outputs["masked_lm_logits"][:, :, :pieces])
            score, piece = tf.math.top_k(probabilities, min(MAX_CANDIDATES, pieces))
            return {"score": score, "piece": piece}

        forward = compiled(model, best, inputs=(*INPUTS, "masked_lm_positions"))
        return cls(forward, tokenizer, max_seq_length=model.config.max_position_embeddings, keep_alive=model)

    def fill(self, text: str, *, n_best: int = 5) -> list[dict]:
        """Predicts candidates for each mask of a text such as "수도는 [MASK]이다.".

        Returns: for each mask its `start` and `end` in the text, and its `candidates`, best first: `piece`, as in the
        vocabulary, and `score`, its probability.

        Raises:
            InputError: the text has no mask, more than `MAX_MASKS`, or more pieces than the model takes.
        """
        prepared = requests.prepare_fill(
            requests.Fill(text, n_best), tokenizer=self.tokenizer, max_seq_length=self.max_seq_length
        )
        outputs = self.forward(prepared.features)
        return self.answer(prepared.source, {name: values[0] for name, values in outputs.items()}, n_best=n_best)

    def forward(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`score` float32 and `piece` int32 [rows, masks, candidates], of int32 features."""
        outputs = self._forward(**{name: tf.constant(value) for name, value in features.items()})
        return {name: outputs[name].numpy() for name in ("score", "piece")}

    def answer(self, masks: list[Mask], row: Mapping[str, np.ndarray], *, n_best: int) -> list[dict]:
        """The result of `fill`, from the outputs of the text's row."""
        found = []
        for mask, scores, pieces in zip(masks, row["score"], row["piece"], strict=False):  # the other rows are padding
            names = self.tokenizer.convert_ids_to_tokens(pieces[:n_best].tolist())
            best = [{"piece": name, "score": float(score)} for name, score in zip(names, scores[:n_best], strict=True)]
            found.append({"start": mask.start, "end": mask.end, "candidates": best})
        return found
