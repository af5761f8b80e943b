"""The HTTP service's behaviour for each kind of model: one class per kind, and `load`, which detects the kind."""

import abc
import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from pydantic import BaseModel

from kobert_tf2.bert import checkpoint_files, heads
from kobert_tf2.errors import InputError
from kobert_tf2.features import search
from kobert_tf2.features.embedder import unit_vectors
from kobert_tf2.serving import requests, schemas
from kobert_tf2.serving.classifier import Classifier
from kobert_tf2.serving.encoder import Encoder
from kobert_tf2.serving.export import head_of
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.mask_filler import MaskFiller
from kobert_tf2.serving.predictor import Predictor
from kobert_tf2.serving.saved_export import find_export, read_settings
from kobert_tf2.serving.scheduling import Prepared, Row
from kobert_tf2.serving.tagger import Tagger
from kobert_tf2.tokenization.tokenizer import Tokenizer

# The input for warming up a service.
_QUESTION: dict[str, Any] = {"question": "수도는 어디인가?", "context": "대한민국의 수도는 서울이다."}

_TEXT: dict[str, Any] = {"text": "세종대왕은 한양에서 태어났다."}


class HttpService(abc.ABC):
    """A `Service` with its HTTP endpoint.

    Attributes:
        kind: the name by which the page selects its form.
        path: the path to which requests are posted.
        summary: one sentence for the API documentation.
        response_model: the fields of the response except `milliseconds`.
        example: the fields of a short request.
        prepare: see `Service`.
        model: the Keras model that it computes with; None for an export.
    """

    kind: str
    path: ClassVar[str]
    summary: ClassVar[str]
    response_model: ClassVar[type[BaseModel]]
    example: dict[str, Any]
    prepare: Callable[[Any], Prepared]
    model: keras.Model | None = None

    @abc.abstractmethod
    def request_model(self, limits: Limits) -> type[BaseModel]: ...

    @abc.abstractmethod
    def request(self, fields: dict[str, Any]) -> Any:
        """Makes the request that `prepare` takes from the fields of `request_model`."""

    @abc.abstractmethod
    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    @abc.abstractmethod
    def finish(self, request: Any, prepared: Prepared, rows: list[Row]) -> dict: ...


class ReadingService(HttpService):
    """Answers questions with a `Predictor`."""

    kind, path, summary = "reading", "/answer", "Answers a question about a text."
    response_model = schemas.Answers
    example = _QUESTION

    def __init__(self, predictor: Any):
        self._predictor = predictor
        self.model = _keras_model(predictor)
        self.prepare = functools.partial(
            requests.prepare_ask, tokenizer=predictor.tokenizer, lengths=predictor.settings.lengths
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        return schemas.question_model(limits)

    def request(self, fields: dict[str, Any]) -> requests.Ask:
        return requests.Ask(**fields)

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._predictor.forward(features)

    def finish(self, ask: requests.Ask, prepared: Prepared, rows: list[Row]) -> dict:
        question, windows = prepared.source
        logits = (
            requests.stacked(rows, name, windows.input_ids.shape[1], -np.inf) for name in ("start_logits", "end_logits")
        )
        return self._predictor.decode([question], windows, *logits, n_best=ask.n_best, strip_josa=ask.strip_josa)[0]


class EntitiesService(HttpService):
    """Finds the entities of a text with a `Tagger`."""

    kind, path, summary = "entities", "/entities", "Finds the entities of a text."
    response_model = schemas.Entities
    example = _TEXT

    def __init__(self, tagger: Any):
        self._tagger = tagger
        self.model = _keras_model(tagger)
        self.prepare = functools.partial(
            requests.prepare_text,
            tokenizer=tagger.tokenizer,
            max_seq_length=tagger.max_seq_length,
            doc_stride=tagger.doc_stride,
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        return schemas.text_model(limits)

    def request(self, fields: dict[str, Any]) -> requests.Text:
        return requests.Text(**fields)

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._tagger.forward(features)

    def finish(self, request: requests.Text, prepared: Prepared, rows: list[Row]) -> dict:
        encoding, windows = prepared.source
        if not rows:
            return {"entities": []}
        logits = requests.stacked(rows, "logits", windows.input_ids.shape[1], 0.0)
        return {"entities": self._tagger.decode([request.text], [encoding], windows, logits)[0]}


class ClassificationService(HttpService):
    """Predicts the label, the labels or the number of a text or a pair with a `Classifier`."""

    path, summary = "/classify", "Classifies a text, or a pair of texts."
    response_model = schemas.Classification

    def __init__(self, classifier: Any):
        self._classifier = classifier
        self.model = _keras_model(classifier)
        self.kind = "sentence" if classifier.takes_pairs is False else "pair"
        second = {"text_pair": "영화가 재미있었다."} if classifier.takes_pairs else {}
        self.example = {"text": "재미있게 보았다.", **second}
        self.prepare = functools.partial(
            requests.prepare_pair, tokenizer=classifier.tokenizer, max_seq_length=classifier.max_seq_length
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        return schemas.pair_model(limits)

    def request(self, fields: dict[str, Any]) -> requests.TextOrPair:
        request = requests.TextOrPair(**fields)
        self._classifier.check_text(request.text if request.text_pair is None else tuple(request))
        return request

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._classifier.forward(features)

    def finish(self, request: requests.TextOrPair, prepared: Prepared, rows: list[Row]) -> dict:
        return self._classifier.answer(rows[0]["logits"])


class FillMaskService(HttpService):
    """Predicts words for the masks of a text with a `MaskFiller`."""

    kind, path, summary = "fill_mask", "/fill-mask", "Says what may stand where a text has a mask."
    response_model = schemas.FilledMasks

    def __init__(self, filler: Any):
        self._filler = filler
        self.model = _keras_model(filler)
        self.example = {"text": f"대한민국의 수도는 {filler.tokenizer.mask_token}이다."}
        self.prepare = functools.partial(
            requests.prepare_fill, tokenizer=filler.tokenizer, max_seq_length=filler.max_seq_length
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        return schemas.masked_text_model(limits)

    def request(self, fields: dict[str, Any]) -> requests.Fill:
        return requests.Fill(**fields)

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._filler.forward(features)

    def finish(self, request: requests.Fill, prepared: Prepared, rows: list[Row]) -> dict:
        return {"masks": self._filler.answer(prepared.source, rows[0], n_best=request.n_best)}


class SearchService(HttpService):
    """Finds the nearest sentences, of the service's own file or of the request, by the cosine of their vectors."""

    path, summary = "/search", "Finds the sentences that are nearest to a query."
    response_model = schemas.SearchResult

    def __init__(
        self, encoder: Encoder, *, max_characters: int, pooling: str = "mean", sentences_file: str | None = None
    ):
        self._encoder, self._pooling, self._index = encoder, pooling, None
        self._max_characters = max_characters  # of all sentences of a request
        if pooling == "pooled":
            encoder.embedder.check_pooler()
        if sentences_file is not None:
            texts, self._lines, empty = search.read_sentences(sentences_file)
            if empty:
                print(f"{sentences_file}: {empty:,} empty lines are skipped", file=sys.stderr)
            self._index = search.SentenceIndex(texts, encoder.embedder, pooling=pooling, show_progress=True)
        self.kind = "search" if self._index is None else "search_file"
        self.example = {"query": "사과", **({"sentences": ["사과가 붉다."]} if self._index is None else {})}
        self.prepare = functools.partial(
            requests.prepare_search,
            tokenizer=encoder.tokenizer,
            max_seq_length=encoder.config.max_position_embeddings,
            pooling=pooling,
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        return schemas.search_model(limits, has_file=self._index is not None)

    def request(self, fields: dict[str, Any]) -> requests.Search:
        request = requests.Search(**fields)
        characters = sum(map(len, request.sentences or ()))
        if characters > self._max_characters:
            raise InputError(f"sentences: expected at most {self._max_characters:,} characters, but got {characters:,}")
        return request

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"vector": self._encoder.vectors(features, self._pooling)}

    def finish(self, request: requests.Search, prepared: Prepared, rows: list[Row]) -> dict:
        texts = prepared.source
        sums = np.zeros((texts[-1] + 1, self._encoder.embedder.hidden_size))
        np.add.at(sums, texts, np.stack([row["vector"] for row in rows]))
        # The cosine does not change with a vector's length, so that the sums need not be divided.
        query, *given = unit_vectors(sums.astype(np.float32))
        if request.sentences is not None:
            sentences, lines, vectors = request.sentences, list(range(1, len(given) + 1)), np.array(given)
        else:
            assert self._index is not None  # `request_model` requires sentences otherwise
            sentences, lines, vectors = self._index.texts, self._lines, self._index.vectors
        scores = vectors @ query
        matches = [
            {"text": sentences[i], "line": lines[i], "score": float(scores[i])}
            for i in search.nearest(scores, request.top_k)
        ]
        return {"matches": matches, "sentences": len(sentences)}


class AttentionService(HttpService):
    """Shows how much each token of a text attends to each other one."""

    path, summary = "/attention", "The attention weights of a text's tokens, in one layer."
    response_model = schemas.Attentions
    example = _TEXT

    def __init__(self, encoder: Encoder, *, max_tokens: int):
        self._encoder, config = encoder, encoder.config
        self.kind = "attention_pair" if config.type_vocab_size > 1 else "attention"
        self.prepare = functools.partial(
            requests.prepare_attend,
            tokenizer=encoder.tokenizer,
            max_seq_length=min(max_tokens, config.max_position_embeddings),
            layers=config.num_hidden_layers,
        )

    def request_model(self, limits: Limits) -> type[BaseModel]:
        config = self._encoder.config
        return schemas.attention_model(limits, layers=config.num_hidden_layers, heads=config.num_attention_heads)

    def request(self, fields: dict[str, Any]) -> requests.Attend:
        request = requests.Attend(**fields)
        if request.text_pair is not None:
            self._encoder.config.check_takes_pairs("text_pair", "a second text was given")
        return request

    def forward(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"weights": self._encoder.attentions(features)}

    def finish(self, request: requests.Attend, prepared: Prepared, rows: list[Row]) -> dict:
        layers, size = self._encoder.config.num_hidden_layers, int(prepared.lengths[0])
        weights = rows[0]["weights"][:, :size, :size]
        heads = list(range(len(weights))) if request.head is None else [request.head]
        return {
            "tokens": prepared.source,
            "layer": request.layer % layers,
            "layers": layers,
            "heads": heads,
            # Float64 values with four decimals are short in JSON.
            "attentions": np.round(weights[heads].astype(np.float64), 4).tolist(),
        }


def load_all(
    path: str,
    *,
    precision: str = "float32",
    limits: Limits = Limits(),  # noqa: B008 - immutable
    encoder_dir: str | None = None,
    sentences_file: str | None = None,
    pooling: str = "mean",
    **reading: Any,
) -> list[HttpService]:
    """Loads the service for a model, and behind it those of its encoder: attention weights and search.

    Args:
        path, precision, reading: see `load`; here the model may also be an encoder without a head.
        limits: `attention_tokens`, and `context_characters` for the sentences of a search request.
        encoder_dir: the model whose encoder is used; by default `path`, whose weights are then shared. An export
            contains no encoder to share, so without `encoder_dir` it has its own service only.
        sentences_file: a file of sentences to search, one per line.
        pooling: how a sentence becomes one vector, one of `text_windows.POOLINGS`.

    Raises:
        InputError: there is nothing to load, or `sentences_file` is given for an export without `encoder_dir`.
    """
    is_encoder = _head_of(path) == "embedding" and find_export(path) is None
    if is_encoder and reading:
        raise InputError(f"{path}: {', '.join(reading)}: expected a reader, but the model has no head")
    task = [] if is_encoder else [load(path, precision=precision, **reading)]
    if encoder_dir is not None or is_encoder:
        encoder = Encoder.load(encoder_dir or path, precision=precision)
    elif task[0].model is not None:
        encoder = Encoder.of_model(task[0].model, Tokenizer.from_pretrained(_folder_of(path)), path=path)
    elif sentences_file is not None:
        raise InputError(f"{path}: an export has no encoder that searches: name a model with --encoder_dir")
    else:
        return task
    most = limits.context_characters
    finder = SearchService(encoder, max_characters=most, pooling=pooling, sentences_file=sentences_file)
    attention = AttentionService(encoder, max_tokens=limits.attention_tokens)
    return [*task, attention, finder] if task else [finder, attention]


def _folder_of(path: str) -> str:
    return checkpoint_files.find_source(path).folder


def _keras_model(predictor: Any) -> keras.Model | None:
    return predictor.keep_alive if isinstance(predictor.keep_alive, keras.Model) else None


def load(path: str, *, precision: str = "float32", **reading: Any) -> HttpService:
    """Loads the service for a model directory, a hub id or an export, according to the head it names.

    Args:
        precision: "float32" or "bfloat16"; an export computes in float32.
        reading: for a reader, fields of `ReadingSettings` that override the stored ones.

    Raises:
        InputError: there is nothing to load, or no service supports the head.
    """
    head = _head_of(path)
    if head == "reading":
        return ReadingService(Predictor.load(path, precision=precision, **reading))
    if reading:
        raise InputError(f"{path}: {', '.join(reading)}: expected a reader, but the model's head is {head}")
    if head == "tokens":
        return EntitiesService(Tagger.load(path, precision=precision))
    if head == "classification":
        return ClassificationService(Classifier.load(path, precision=precision))
    if head == "pretraining":
        return FillMaskService(MaskFiller.load(path, precision=precision))
    raise InputError(
        f"{path}: expected a model that answers questions, classifies, fills masks or finds entities, but its head is "
        f"{head}"
    )


def warm_up(service: HttpService) -> None:
    """Answers one request, so that the first client does not wait for lazy initialisation."""
    request = service.request(service.example)
    prepared = service.prepare(request)
    outputs = service.forward(prepared.features)
    windows = range(len(prepared.lengths))
    service.finish(request, prepared, [{name: output[row] for name, output in outputs.items()} for row in windows])


def _head_of(path: str) -> str:
    export = find_export(path)
    if export is not None:
        return read_settings(export)["head"]
    source = checkpoint_files.find_source(path)
    architecture = heads.describe(source).architecture
    if architecture == "BertForMaskedLM":
        return "pretraining"
    # A TF1 checkpoint does not name its head; only a reader's can be recognised from the weights alone.
    return "reading" if source.format == "tf1" and architecture is None else head_of(source)
