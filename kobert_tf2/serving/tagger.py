"""Finds entities with a model that is loaded once: takes texts, returns entities with their offsets in the text."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.inference import compiled, dtype_policy
from kobert_tf2.bert.models import BertForTokenClassification
from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entities
from kobert_tf2.labelling.entities import TokenWindows
from kobert_tf2.labelling.settings import TaggerSettings
from kobert_tf2.reading.josa import JosaStripper
from kobert_tf2.serving.export import check_vocabulary
from kobert_tf2.serving.predictor import serving_batches
from kobert_tf2.serving.saved_export import export_labels, find_export, read_export
from kobert_tf2.tokenization.encoding import Encoding
from kobert_tf2.tokenization.tokenizer import Tokenizer

# How many texts have their windows in memory at the same time.
TEXTS_AT_ONCE = 1024


class Tagger:
    """Finds entities in texts. Create one with `Tagger.load`; it is thread-safe.

    `labels` are the BIO labels of the model, in the order of its logits.
    """

    def __init__(
        self,
        forward: Callable[..., dict[str, tf.Tensor]],
        tokenizer: Tokenizer,
        labels: Sequence[str],
        *,
        max_seq_length: int,
        strip_josa: bool,
        doc_stride: int | None = None,
        keep_alive: object = None,
    ):
        self._forward = forward
        self.keep_alive = keep_alive  # the object whose variables `forward` reads
        self.tokenizer, self.labels, self.max_seq_length = tokenizer, tuple(labels), max_seq_length
        self._strip_josa, self.doc_stride = strip_josa, doc_stride

    @classmethod
    def load(
        cls,
        path: str,
        *,
        precision: str = "float32",
        max_seq_length: int | None = None,
        strip_josa: bool | None = None,
    ) -> "Tagger":
        """Loads a model directory, a hub id or an export.

        Args:
            precision: "float32" or "bfloat16"; an export computes in float32.
            max_seq_length: tokens in a window of a long text; the default is the value used in training, or else 128,
                or the model's number of positions if that is lower.
            strip_josa: whether to strip particles from entities; the default is the value used in training, or else
                True if the tokenizer does not use morphemes.

        Raises:
            InputError: there is nothing to load, the model has no trained head, or the labels are not BIO.
        """
        found = find_export(path)
        if found is not None:
            export = read_export(found, "tokens", precision=precision)
            forward, config, tokenizer, keep_alive = export.forward, export.config, export.tokenizer, export.keep_alive
            labels, config_file = export_labels(export), f"{found}/assets/config.json"
        else:
            model = BertForTokenClassification.from_pretrained(
                path, dtype=dtype_policy(precision), require_trained=True
            )
            source = checkpoint_files.find_source(path)
            tokenizer, config_file = Tokenizer.from_pretrained(source.folder), source.config
            check_vocabulary(model.config, tokenizer)
            forward, config, keep_alive, labels = compiled(model), model.config, model, list(model.labels)
        entities.types_of(labels, path)
        kept = TaggerSettings.kept_in(config_file)
        strip_josa = kept.strip_josa if strip_josa is None else strip_josa
        longest = config.max_position_embeddings
        if max_seq_length is not None and not 3 <= max_seq_length <= longest:
            raise InputError(f"max_seq_length: expected 3 to {longest}, but got {max_seq_length}")
        length = max_seq_length or min(kept.max_seq_length or 128, longest)
        return cls(
            forward,
            tokenizer,
            labels,
            max_seq_length=length,
            doc_stride=kept.doc_stride if length == kept.max_seq_length else None,
            strip_josa=tokenizer.settings()["pre_tokenizer"] != "mecab" if strip_josa is None else strip_josa,
            keep_alive=keep_alive,
        )

    @functools.cached_property
    def _stripper(self) -> JosaStripper:
        return JosaStripper(self.tokenizer.analyser)

    def tag(self, text: str) -> list[dict]:
        """The entities of a text in order: `text`, `type`, `start`, `end` (characters) and `score`, a probability."""
        return self.tag_batch([text])[0]

    def predict(self, texts: Iterable[str]) -> list[list[dict]]:
        """`tag_batch`, under the same name as in `Classifier` and `Predictor`."""
        return self.tag_batch(texts)

    def tag_batch(self, texts: Iterable[str]) -> list[list[dict]]:
        """`tag` for every text, in order, computed in batches."""
        texts = list(texts)
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {place}: expected a string, but got {type(text).__name__}")
        found: list[list[dict]] = []
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            found += self._tag_block(texts[first : first + TEXTS_AT_ONCE])
        return found

    def _tag_block(self, texts: Sequence[str]) -> list[list[dict]]:
        encodings = self.tokenizer.encode_batch(texts)
        windows = entities.make_windows(
            encodings, self.tokenizer, max_seq_length=self.max_seq_length, doc_stride=self.doc_stride
        )
        logits = np.zeros((*windows.input_ids.shape, len(self.labels)), np.float32)
        for batch in serving_batches(windows.input_mask.sum(axis=1), windows.input_ids.shape[1]):
            inputs = {name: array[batch.rows, : batch.width] for name, array in windows.features().items()}
            logits[batch.rows, : batch.width] = self.forward(inputs)["logits"]
        return self.decode(texts, encodings, windows, logits)

    def forward(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`logits`, float32 [windows, width, labels], of int32 [windows, width] features."""
        outputs = self._forward(**{name: tf.constant(value) for name, value in features.items()})
        return {"logits": outputs["logits"].numpy()}

    def decode(
        self, texts: Sequence[str], encodings: Sequence[Encoding], windows: TokenWindows, logits: np.ndarray
    ) -> list[list[dict]]:
        """The results of `tag` for each text, from the logits of its windows, float32 [W, S, labels]."""
        per_text = entities.token_logits(windows, logits, encodings)
        return [
            [self._entry(text, entity) for entity in entities.decode(one, encoding, self.labels)]
            for text, encoding, one in zip(texts, encodings, per_text, strict=True)
        ]

    def _entry(self, text: str, entity: entities.Entity) -> dict:
        start, end = entity.start, entity.end
        if self._strip_josa:
            start, end = self._stripper(text, start, end)
        return {"text": text[start:end], "type": entity.type, "start": start, "end": end, "score": entity.score}
