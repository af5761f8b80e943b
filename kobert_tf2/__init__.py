"""A Korean BERT toolkit on Keras 3 and TensorFlow 2.

Names are resolved lazily on first use, so `import kobert_tf2` is cheap and a process that only tokenizes never loads
TensorFlow.
"""

import importlib
from typing import Any

from kobert_tf2.keras_objects import register_with_keras
from kobert_tf2.quiet_tensorflow import load_quietly

__version__ = "0.1.0"

_MODULE_OF = {
    "InputError": "errors",
    "Morpheme": "tokenization.mecab",
    "MorphemeAnalyser": "tokenization.mecab",
    "Encoding": "tokenization.encoding",
    "Token": "tokenization.encoding",
    "Tokenizer": "tokenization.tokenizer",
    "strip_josa": "reading.josa",
    "strip_josa_batch": "reading.josa",
    "BertConfig": "bert.config",
    "BertBackbone": "bert.models",
    "BertForPreTraining": "bert.models",
    "BertForQuestionAnswering": "bert.models",
    "BertForSequenceClassification": "bert.models",
    "BertForTokenClassification": "bert.models",
    "BertAdam": "training.optimizers",
    "Predictor": "serving.predictor",
    "Tagger": "serving.tagger",
    "Embedder": "features.embedder",
    "embed": "features.embedder",
    "SentenceIndex": "features.search",
    "Classifier": "serving.classifier",
}

__all__ = list(_MODULE_OF)

load_quietly()
register_with_keras()


# An alias of a module: its name in version 0.1, which users' programs import.
_MODULES = {"classification": "labelling.sentences"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[name]}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
