"""The model card of a model directory: README.md with the metadata for the Hugging Face hub.

Our card has a last line with the hash of the text above it. A README.md without that line, or with a changed text, is
the user's and is kept.
"""

import hashlib
import re
from collections.abc import Mapping

from kobert_tf2 import files
from kobert_tf2.bert.checkpoint_files import HF_CONFIG

FILE = "README.md"
_SIGN = re.compile(r"\n<!-- kobert_tf2 ([0-9a-f]{64}) -->\n\Z")
_MOST_SCORES = 20

# {architecture: (task on the hub, code that predicts with our package)}.
_USES = {
    "BertForQuestionAnswering": ("question-answering", 'kb.Predictor.load(path).answer("질문", "본문")'),
    "BertForSequenceClassification": ("text-classification", 'kb.Classifier.load(path).predict(["문장"])'),
    "BertForTokenClassification": ("token-classification", 'kb.Tagger.load(path).predict(["문장"])'),
    "BertForPreTraining": ("fill-mask", "kb.BertForPreTraining.from_pretrained(path)"),
    "BertForMaskedLM": ("fill-mask", "kb.BertForPreTraining.from_pretrained(path)"),
}
_ELSE = ("feature-extraction", "kb.BertBackbone.from_pretrained(path)")


def write(folder: str, place: str, scores: Mapping[str, object] | None = None) -> None:
    """Writes the card of the model in `folder`, which is or will become `place`, unless the user has a card of their
    own there.
    """
    if files.exists(f"{place}/{FILE}") and not is_ours(f"{place}/{FILE}"):
        return
    config = files.read_json(f"{folder}/{HF_CONFIG}", dict)
    tokenizer_path = f"{folder}/tokenizer_config.json"
    tokenizer = files.read_json(tokenizer_path, dict) if files.exists(tokenizer_path) else {}
    body = _body(config, tokenizer, scores or {})
    with files.whole_file(f"{folder}/{FILE}") as file:
        file.write(f"{body}\n<!-- kobert_tf2 {_hash(body)} -->\n")


def add_scores(folder: str, scores: Mapping[str, object]) -> None:
    """Rewrites the card of a model directory with these scores; does nothing if there is no model."""
    if files.exists(f"{folder}/{HF_CONFIG}"):
        write(folder, folder, scores)


def is_ours(path: str) -> bool:
    """Whether a card was written by this package and is unchanged."""
    with files.open_binary(path) as file:
        text = file.read().decode("utf-8", "replace")
    signed = _SIGN.search(text)
    return signed is not None and _hash(text[: signed.start()]) == signed[1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _body(config: Mapping, tokenizer: Mapping, scores: Mapping[str, object]) -> str:
    architecture = next(iter(config.get("architectures") or ()), "BertModel")
    task, use = _USES.get(architecture, _ELSE)
    parts = [_metadata(task), f"# {architecture}\n", _facts(config, tokenizer), _scores(scores), _usage(use)]
    return "\n".join(part for part in parts if part)


def _metadata(task: str) -> str:
    lines = ["language: ko", "library_name: transformers", f"pipeline_tag: {task}"]
    return "\n".join(["---", *lines, "tags:", *(f"- {tag}" for tag in ("bert", "keras", "kobert_tf2")), "---\n"])


def _facts(config: Mapping, tokenizer: Mapping) -> str:
    names = {
        "num_hidden_layers": "layers",
        "hidden_size": "width",
        "num_attention_heads": "attention heads",
        "vocab_size": "vocabulary",
        "max_position_embeddings": "positions",
        "hidden_act": "activation",
    }
    rows = {shown: config[name] for name, shown in names.items() if name in config}
    if "pre_tokenizer" in tokenizer:
        rows["tokenizer"] = f"{tokenizer['pre_tokenizer']}, then WordPiece"
    if config.get("id2label") and _has_labels(config):
        rows["labels"] = ", ".join(map(str, config["id2label"].values()))
    return "A Korean BERT, written by kobert_tf2.\n\n" + _table(("", ""), rows)


def _has_labels(config: Mapping) -> bool:
    return any("Classification" in name for name in config.get("architectures") or ())


def _scores(scores: Mapping[str, object]) -> str:
    figures = {name: f"{value:.4g}" for name, value in scores.items() if isinstance(value, float)}
    if not figures:
        return ""
    return "## Scores\n\n" + _table(("score", "value"), dict(list(figures.items())[:_MOST_SCORES]))


def _table(header: tuple[str, str], rows: Mapping[str, object]) -> str:
    """A Markdown table; user-defined names are escaped so that they cannot end a cell or start markup."""

    def cell(value: object) -> str:
        return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", " ".join(str(value).split()))

    lines = [f"| {header[0]} | {header[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {cell(name)} | {cell(value)} |" for name, value in rows.items())]) + "\n"


def _usage(use: str) -> str:
    return f"""## Use

```python
import kobert_tf2 as kb

path = "..."  # this folder, or its name on the hub
{use}
```

`transformers` reads the same folder; its tokenizer may need `trust_remote_code=True` and the analyser Mecab.
"""
