"""The encoder of a served model: vectors of texts and attention weights, for search and the attention view."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.inference import INPUTS
from kobert_tf2.bert.kernels import tracing
from kobert_tf2.bert.models import BertBackbone
from kobert_tf2.features.embedder import Embedder, load_backbone
from kobert_tf2.tokenization.tokenizer import Tokenizer


class _SharedBackbone:
    """Called like a `BertBackbone` with all its outputs, with the layers of a model with a head.

    Not a Keras model: Keras does not find the attentions in a second functional model over the same layers.
    """

    def __init__(self, model: keras.Model):
        self._backbone: BertBackbone = model.backbone
        self.config, self.new_parts = model.config, model.new_parts
        self.pooler = None if "pooler" in self.new_parts else self._backbone.pooler

    def __call__(self, inputs: dict, training: bool = False) -> dict:
        mask_scores = self._backbone.attention_mask(inputs["input_mask"])
        hidden_states = [self._backbone.embeddings(inputs["input_ids"], inputs["segment_ids"], training=training)]
        attentions = []
        for layer in self._backbone.encoder_layers:
            output, attention = layer(hidden_states[-1], mask_scores, training=training, output_attentions=True)
            hidden_states.append(output)
            attentions.append(attention)
        outputs = {"hidden_states": hidden_states, "attentions": attentions}
        return outputs if self.pooler is None else {**outputs, "pooled_output": self.pooler(hidden_states[-1])}


class Encoder:
    """Computes batches of prepared rows; `embedder` embeds texts with the same weights. Thread-safe."""

    def __init__(self, embedder: Embedder):
        self.embedder, self.tokenizer, self.config = embedder, embedder.tokenizer, embedder.model.config
        self._functions: dict[str, Callable[..., tf.Tensor]] = {}

    @classmethod
    def load(cls, path: str, *, precision: str = "float32") -> "Encoder":
        """Loads a model directory, a TF1 checkpoint or a hub id, whatever its heads."""
        model = load_backbone(path, precision=precision, attentions=True)
        return cls(Embedder(model, Tokenizer.from_pretrained(checkpoint_files.find_source(path).folder), path=path))

    @classmethod
    def of_model(cls, model: keras.Model, tokenizer: Tokenizer, *, path: str) -> "Encoder":
        """The encoder of a model with a head; it shares the weights with it."""
        return cls(Embedder(_SharedBackbone(model), tokenizer, path=path))  # type: ignore[arg-type]  # called alike

    def vectors(self, features: Mapping[str, np.ndarray], pooling: str) -> np.ndarray:
        """float32 [rows, hidden]: the sum of the last layer's states over the tokens with `counts` 1, or the pooler's
        output for "pooled".
        """

        def pooled(outputs: dict, inputs: dict) -> tf.Tensor:
            if pooling == "pooled":
                return tf.cast(outputs["pooled_output"], tf.float32)
            states = tf.cast(outputs["hidden_states"][-1], tf.float32)
            return tf.einsum("bsh,bs->bh", states, tf.cast(inputs["counts"], tf.float32))

        return self._run(f"vectors {pooling}", pooled, features)

    def attentions(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """float32 [rows, heads, width, width]: the attention weights of the layer that `layer`, [rows, 1], names."""

        def of_layer(outputs: dict, inputs: dict) -> tf.Tensor:
            return tf.gather(tf.stack(outputs["attentions"], axis=1), inputs["layer"][:, 0], axis=1, batch_dims=1)

        return self._run("attentions", of_layer, features)

    def _run(
        self, name: str, output: Callable[[dict, dict], tf.Tensor], features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        if name not in self._functions:
            model = self.embedder.model
            spec = {each: tf.TensorSpec([None, None], tf.int32, name=each) for each in features}

            def compute(**inputs: tf.Tensor) -> tf.Tensor:
                return output(model({each: inputs[each] for each in INPUTS}, training=False), inputs)

            with tracing.for_cpu(final_weights=True):
                self._functions[name] = tf.function(compute).get_concrete_function(**spec)
        return self._functions[name](**{each: tf.constant(value) for each, value in features.items()}).numpy()
