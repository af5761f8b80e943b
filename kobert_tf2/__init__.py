"""A Korean BERT toolkit on Keras 3 and TensorFlow 2.

Names resolve when they are first used, so `import kobert_tf2` costs nothing and a process that only tokenizes
never loads TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_MODULE_OF = {
    "InputError": "errors",
    "Morpheme": "morphemes",
    "MorphemeAnalyser": "morphemes",
    "Encoding": "encodings",
    "Token": "encodings",
    "Tokenizer": "tokenization",
    "strip_josa": "josa",
    "BertConfig": "modeling",
    "BertBackbone": "modeling",
    "BertForPreTraining": "modeling",
    "BertForQuestionAnswering": "modeling",
    "BertForSequenceClassification": "modeling",
    "BertForTokenClassification": "modeling",
    "BertAdam": "optimization",
    "Predictor": "predictor",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
