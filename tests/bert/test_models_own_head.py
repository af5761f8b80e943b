"""A user's own head on the backbone, as the README shows it, trained with plain Keras on real sentences."""

import random

import keras
import pytest
import tensorflow as tf

from kobert_tf2.bert import models
from kobert_tf2.labelling import sentences
from kobert_tf2.tokenization.tokenizer import Tokenizer


def with_own_head(backbone):
    """The README's lines: what a user writes."""
    states = backbone(backbone.input)["sequence_output"]
    mask = keras.ops.cast(backbone.input["input_mask"], "float32")
    mean = keras.layers.GlobalAveragePooling1D()(states, mask=mask)
    output = keras.layers.Dense(1, activation="sigmoid", dtype="float32")(keras.layers.Dropout(0.1)(mean))
    return keras.Model(backbone.input, output)


@pytest.mark.slow
@pytest.mark.shared
def test_an_own_head_learns_what_film_reviews_mean(shared):
    keras.utils.set_random_seed(0)
    examples = sentences.read_tsv(str(shared / "data" / "nsmc" / "sentiment.tsv"))
    random.Random(0).shuffle(examples)
    tokenizer = Tokenizer(shared / "data" / "vocab" / "koelectra_wordpiece_vocab.txt", pre_tokenizer="none")
    features = sentences.make_features(examples[:26_000], tokenizer, max_seq_length=32)
    labels = features.pop("labels")
    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    held_out, training = dataset.take(2_000).batch(250), dataset.skip(2_000).shuffle(24_000, seed=0).batch(64)

    config = models.BertConfig(
        vocab_size=len(tokenizer.vocab),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
    )
    model = with_own_head(models.BertBackbone(config, add_pooling_layer=False))
    model.compile(optimizer=keras.optimizers.Adam(5e-4), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(training, epochs=2, verbose=0)
    accuracy = model.evaluate(held_out, verbose=0, return_dict=True)["accuracy"]
    print(f"accuracy on held-out sentences: {accuracy:.4f}")
    assert accuracy > 0.70


def test_an_own_head_saves_loads_and_answers(tmp_path):
    config = models.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = with_own_head(models.BertBackbone(config, add_pooling_layer=False))
    inputs = {name: tf.ones((2, 5), tf.int32) for name in model.input}
    model.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras")
    assert keras.ops.all(model(inputs) == again(inputs))
