"""A Korean BERT toolkit on Keras 3 and TensorFlow 2.

Names resolve when they are first used, so `import kobert_tf2` costs nothing and a process that only tokenizes
never loads TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_MODULE_OF = {
    "InputError": "errors",
    "Morpheme": "tokenization.mecab",
    "MorphemeAnalyser": "tokenization.mecab",
    "Encoding": "tokenization.encoding",
    "Token": "tokenization.encoding",
    "Tokenizer": "tokenization.tokenizer",
    "strip_josa": "reading.josa",
    "BertConfig": "bert.models",
    "BertBackbone": "bert.models",
    "BertForPreTraining": "bert.models",
    "BertForQuestionAnswering": "bert.models",
    "BertForSequenceClassification": "bert.models",
    "BertForTokenClassification": "bert.models",
    "BertAdam": "training.optimizers",
    "Predictor": "serving.predictor",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
