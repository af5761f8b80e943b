"""The supported architectures: the parts that each uses, and which of them a checkpoint contains.

A part is the encoder, the pooler or a head. A part that a checkpoint does not contain starts with random weights; it
may be trained, but not used for predictions.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from kobert_tf2 import files
from kobert_tf2.bert import labels
from kobert_tf2.bert.checkpoint_files import Checkpoint, Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.labels import Labels
from kobert_tf2.bert.weight_names import TABLE, Row, is_required, part
from kobert_tf2.errors import InputError

# {Hugging Face class: the parts that it uses besides the encoder}. A BertModel may have a pooler.
ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "BertModel": (),
    "BertForPreTraining": ("pooler", "masked_lm", "next_sentence"),
    "BertForMaskedLM": ("masked_lm",),
    "BertForNextSentencePrediction": ("pooler", "next_sentence"),
    "BertForQuestionAnswering": ("span",),
    "BertForSequenceClassification": ("pooler", "classifier"),
    "BertForTokenClassification": ("classifier",),
}
# {output of our models: the parts that it needs besides the encoder}. `logits` are those of either classifier.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "pooled_output": ("pooler",),
    "masked_lm_logits": ("masked_lm",),
    "next_sentence_logits": ("pooler", "next_sentence"),
    "start_logits": ("span",),
    "end_logits": ("span",),
    "logits": ("classifier",),
}
# The names of the parts in messages.
DESCRIPTIONS = {
    "encoder": "encoder",
    "pooler": "pooler",
    "masked_lm": "masked-LM head",
    "next_sentence": "next-sentence head",
    "span": "span head",
    "classifier": "classification head",
}


def parts_of(rows: Iterable[Row]) -> list[str]:
    """The parts that these weights belong to; the encoder's layers and embeddings are one part."""
    found = {"encoder" if is_required(row) else part(row) for row in rows}
    return [name for name in DESCRIPTIONS if name in found]


# ----------------------------------------------------------------------------------------------------------------------
# Missing parts
# ----------------------------------------------------------------------------------------------------------------------


def refuse_untrained(parts: Iterable[str], checkpoint: Checkpoint, why: str = "") -> None:
    """Raises an `InputError` that names these parts, which are missing from the checkpoint; `why` says what needs
    them.
    """
    lacking = [f"{DESCRIPTIONS[name]} ({_prefix(name, checkpoint.format)})" for name in DESCRIPTIONS if name in parts]
    if lacking:
        raise InputError(
            f"{checkpoint.path}: the weights hold no {' and no '.join(lacking)}, so its answers would be random: "
            f"{why or 'train it first, or name a model that has it'}"
        )


def refuse_untrained_model(new_parts: Collection[str]) -> None:
    """`refuse_untrained` for a model in memory: its weights were loaded without these parts, which were not trained
    since.
    """
    if new_parts:
        names = " and the ".join(DESCRIPTIONS[name] for name in new_parts)
        raise InputError(f"the {names} of this model came with no weights and was not trained: its answers are random")


def _prefix(name: str, file_format: str) -> str:
    """The prefix of a part's weight names in a file."""
    block = next((block for block in TABLE if block.keras == name), None)
    if block is None:
        return "bert"
    if file_format == "hf":
        return f"{block.hf}.*"
    return f"{block.tf1}/*" if block.tf1 else "output_weights"


# ----------------------------------------------------------------------------------------------------------------------
# Heads in configuration files
# ----------------------------------------------------------------------------------------------------------------------


class Described(NamedTuple):
    """The contents of a configuration file besides sizes; `architecture` is None if it names none."""

    path: str
    architecture: str | None  # the first named one that we support, otherwise the first
    values: Mapping

    def has_other_classifier(self, architecture: str) -> bool:
        """Whether the classification head belongs to another class: heads for sentences and tokens have the same weight
        names.
        """
        return self.architecture != architecture and "classifier" in ARCHITECTURES.get(self.architecture or "", ())

    @property
    def task_settings(self) -> dict:
        """The task settings besides the labels, such as how a reader makes windows and answers."""
        value = self.values.get("task_specific_params")
        return {"task_specific_params": value} if value else {}

    def labels(self, count: int) -> Labels:
        """The labels of a head with `count` rows."""
        return labels.read(dict(self.values), self.path, count)


def describe(source: Source) -> Described:
    """Reads `config.json`, or `bert_config.json`, in which our own conversion stores information about the head."""
    text = files.read_text(source.config) if files.exists(source.config) else "{}"
    # A duplicate name in id2label would lose a label.
    values = files.parse_json(text, source.config, dict, strict=True)
    named = [values.get("architecture")] if source.format == "tf1" else values.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str | None) for name in named):
        raise InputError(f"{source.config}: architectures: expected a list of names, but found {named!r:.60}")
    known = [name for name in named if name in ARCHITECTURES]
    return Described(source.config, next(iter([*known, *named]), None), values)


def architecture_of(parts: Iterable[str]) -> str:
    """The class that has the heads of a checkpoint, for a configuration that names no class."""
    held = set(parts)
    if "masked_lm" in held:
        return "BertForPreTraining" if {"pooler", "next_sentence"} <= held else "BertForMaskedLM"
    if "span" in held:
        return "BertForQuestionAnswering"
    if "classifier" in held:
        return "BertForSequenceClassification" if "pooler" in held else "BertForTokenClassification"
    return "BertForNextSentencePrediction" if {"pooler", "next_sentence"} <= held else "BertModel"


def to_google_dict(config: BertConfig, architecture: str, held: Labels | None) -> dict:
    """Additional keys for `bert_config.json`, so that a classifier is restored exactly.

    The original scripts ignore unknown keys. A checkpoint without a classifier needs none.
    """
    if held is None:
        return {}
    dropout = {} if config.classifier_dropout is None else {"classifier_dropout": config.classifier_dropout}
    return {"architecture": architecture, **held.to_config(), **dropout}
