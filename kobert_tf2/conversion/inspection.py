"""Inspects a folder or a hub id: what it is, what would be read, what is missing and what it can be used for.

Only names and shapes are read, for a model of the hub as well: no weights are downloaded, and Keras is not loaded
(TensorFlow is, for the index of a TF1 checkpoint).
"""

import dataclasses
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from kobert_tf2 import files, hub
from kobert_tf2.bert import checkpoint_files, heads, matching
from kobert_tf2.bert.checkpoint_files import Checkpoint, Source
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.bert.weight_names import is_required, keras_shape, part, table
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import pretrained as tokenizers
from kobert_tf2.tokenization.tokenizer import Tokenizer

SAVED_MODEL = "saved_model.pb"
# What each architecture is trained for, and the command for it.
_TRAINED_USES = {
    "BertForQuestionAnswering": "answer questions (kb.Predictor, serve.py, finetune_mrc.py --do_predict)",
    "BertForSequenceClassification": "classify texts (finetune_classifier.py --do_predict, export_model.py)",
    "BertForTokenClassification": "tag entities (kb.Tagger, finetune_ner.py --do_predict, export_model.py)",
    "BertForPreTraining": "predict masked pieces and next sentences (pretrain.py --do_eval, export_model.py)",
    "BertForMaskedLM": "predict masked pieces (in PyTorch: convert_checkpoint.py --to=hf)",
    "BertForNextSentencePrediction": "predict next sentences (in PyTorch: convert_checkpoint.py --to=hf)",
}


@dataclasses.dataclass
class Inspection:
    """The findings. `problems` are sentences; if there are any, the model cannot be used as it is."""

    path: str
    kind: str
    folder: str | None = None
    reads: list[str] = dataclasses.field(default_factory=list)  # names of files that will be read
    not_read: list[str] = dataclasses.field(default_factory=list)  # and of the others
    config: dict | None = None
    architecture: str | None = None
    parts: list[str] | None = None  # of the model, that are in the weights; None: not known without opening a pickle
    unknown_weights: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] | None = None
    problem_type: str | None = None
    tokenizer: dict | None = None
    can: list[str] = dataclasses.field(default_factory=list)
    needs_training: list[str] = dataclasses.field(default_factory=list)  # the tasks that need a new head to be trained
    notes: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def inspect(path: str) -> Inspection:
    """Inspects a model directory, a TF1 checkpoint, a keras-hub preset, an export, the folder of a tokenizer or a hub
    id.

    Raises:
        InputError: the name does not exist, or the hub cannot be reached.
    """
    path = os.fspath(path).rstrip("/") or "/"
    is_here = files.exists(path) or files.exists(f"{path}.index")
    if not is_here and hub.is_id(path):
        return _of_hub(path)
    other = _other_kind(path)
    if other is not None:
        return other
    try:
        source = checkpoint_files.find_source(path, allow_pickle=True)
    except InputError as error:
        if not files.exists(f"{path}/{tokenizers.VOCAB_FILE}"):
            raise
        found = Inspection(path, "a tokenizer alone", path, problems=[str(error)])
        _look_at_tokenizer(found, None)
        return found
    kind = {"hf": "a model directory", "tf1": "a TF1 checkpoint"}[source.format]
    found = Inspection(path, kind, source.folder)
    _look_at_files(found, _names_in(source.folder), source)
    _look_at_model(found, source, checkpoint_files.open_source(source))
    return found


def _other_kind(path: str) -> Inspection | None:
    """A folder that only one tool reads."""
    if checkpoint_files.is_keras_hub_preset(path):
        return Inspection(path, "a keras-hub preset", path, can=["be converted (convert_checkpoint.py --to=hf)"])
    numbered = [f"{path}/{name}" for name in _names_in(path) if name.isdecimal()] if files.is_folder(path) else []
    exports = [folder for folder in [path, *numbered] if files.exists(f"{folder}/{SAVED_MODEL}")]
    if not exports:
        return None
    about = f"{exports[-1]}/assets/serving.json"
    head = files.read_json(about, dict).get("head") if files.exists(about) else None
    can = ["answer questions (kb.Predictor, serve.py)"] if head == "reading" else []
    kind = f"an export of a model with the head {head!r}" if head else "a SavedModel of another program"
    problems = [] if head else [f"{exports[-1]}: expected an export of kobert_tf2, but it has no assets/serving.json"]
    return Inspection(path, kind, exports[-1], can=can, problems=problems)


def _names_in(folder: str) -> list[str]:
    return [os.path.basename(name) for name in checkpoint_files.files_like(folder, "*")] + (
        sorted(os.listdir(folder)) if not files.is_remote(folder) and files.is_folder(folder) else []
    )


# ----------------------------------------------------------------------------------------------------------------------
# The hub
# ----------------------------------------------------------------------------------------------------------------------


def _of_hub(name: str) -> Inspection:
    """Downloads the small files; reads the names and shapes of the weights remotely."""
    wanted = (checkpoint_files.HF_CONFIG, *hub.TOKENIZER_FILES)
    folder = hub.fetch(name, wanted)
    names = hub.file_names(name)
    found = Inspection(name, "a model of the hub", folder)
    source = Source("hf", folder, "", f"{folder}/{checkpoint_files.HF_CONFIG}")
    if not files.exists(source.config):
        found.problems.append(f"{name}: expected {checkpoint_files.HF_CONFIG}, but the model has none")
        return found
    _look_at_files(found, names, source)
    is_here = any(files.exists(f"{folder}/{name}") for name in found.reads if name.endswith(".safetensors"))
    _look_at_model(found, source, checkpoint_files.open_source(source) if is_here else _open_on_hub(name))
    return found


@contextmanager
def _open_on_hub(name: str) -> Iterator[Checkpoint]:
    # No array is read, so a copy of the embeddings is assumed to be equal to them, as in nearly every model.
    yield Checkpoint(name, "hf", hub.tensor_shapes(name), lambda tensor: np.zeros(0))


# ----------------------------------------------------------------------------------------------------------------------
# The inspections
# ----------------------------------------------------------------------------------------------------------------------


def _look_at_files(found: Inspection, names: list[str], source: Source) -> None:
    """Which files are used: the first kind of weights that exists, as in `open_source`."""
    names = sorted(set(names))
    small = [os.path.basename(source.config), *hub.TOKENIZER_FILES[:5], *[n for n in names if n.endswith(".model")]]
    weights = next((kind for kind in _weight_files(names, source) if kind), [])
    found.reads = [name for name in names if name in (*small, *weights)]
    found.not_read = [name for name in names if name not in found.reads]
    if weights == [checkpoint_files.PYTORCH_BIN]:
        found.problems.append(
            f"{found.path}: its weights are a pickle alone, {checkpoint_files.PYTORCH_BIN}, which can run code when it "
            "is loaded; if you trust it: python tools/convert_checkpoint.py --allow_pickle "
            f"--input={found.path} --output=FOLDER, and use that folder"
        )
    elif not weights:
        found.problems.append(f"{found.path}: there are no weights that can be read ({', '.join(names) or 'no files'})")


def _weight_files(names: list[str], source: Source) -> Iterator[list[str]]:
    if source.format == "tf1":
        stem = os.path.basename(source.prefix)
        yield [name for name in names if name == f"{stem}.index" or name.startswith(f"{stem}.data-")]
        return
    yield [name for name in names if name == checkpoint_files.SAFETENSORS]
    if checkpoint_files.SAFETENSORS_INDEX in names:
        yield [name for name in names if name.startswith("model") and "safetensors" in name]
    yield [name for name in names if name == checkpoint_files.PYTORCH_BIN]


def _look_at_model(found: Inspection, source: Source, opened: AbstractContextManager[Checkpoint]) -> None:
    """Configuration, weights, heads and tokenizer, each as far as possible."""
    config = None
    try:
        config = BertConfig.from_source(source)
        found.config = config.to_dict()
        described = heads.describe(source)
        found.architecture = described.architecture
        if not found.problems:  # of the weights
            with opened as checkpoint:
                _look_at_weights(found, matching.scan(checkpoint, config), config, described)
    except InputError as error:
        found.problems.append(str(error))
    _look_at_tokenizer(found, config)
    if config is not None and config.type_vocab_size < 2:
        found.notes.append("type_vocab_size is 1: it takes single texts alone; pairs and readers are refused")
        found.needs_training = [what for what in found.needs_training if not what.startswith("reading")]


def _look_at_weights(
    found: Inspection, contents: matching.Contents, config: BertConfig, described: heads.Described
) -> None:
    found.parts = heads.parts_of(contents.found)
    matched = matching.match(contents, _expected(contents, config))
    found.unknown_weights = matched.unused
    named = described.architecture or heads.architecture_of(contents.parts)
    lacking = set(heads.ARCHITECTURES.get(named, ())) - contents.parts
    if contents.num_labels:
        labels = described.labels(contents.num_labels)
        found.labels, found.problem_type = list(labels.names), labels.problem_type
    uses = [
        name for name in _trained(contents) if "Classification" not in name or name == _classifier(described, contents)
    ]
    found.can = [_TRAINED_USES[name] for name in uses] + ["give embeddings (export_model.py --head=embedding)"]
    if "pooler" not in contents.parts:
        found.can[-1] = "give embeddings without pooled_output (export_model.py --head=embedding)"
    found.needs_training = [
        what
        for name, what in (
            ("BertForQuestionAnswering", "reading (finetune_mrc.py --do_train)"),
            ("BertForSequenceClassification", "classification (finetune_classifier.py --do_train)"),
            ("BertForTokenClassification", "entities (finetune_ner.py --do_train)"),
        )
        if name not in uses
    ]
    if lacking:
        names = " and no ".join(heads.DESCRIPTIONS[name] for name in heads.DESCRIPTIONS if name in lacking)
        found.notes.append(
            f"the configuration names {named}, but the weights hold no {names}: it must be trained first"
        )
    elif named not in heads.ARCHITECTURES:
        found.notes.append(
            f"the configuration names {named!r}, whose head is not known here: the encoder alone is read"
        )


def _expected(contents: matching.Contents, config: BertConfig) -> matching.Shapes:
    """The weights of the encoder and of every part that exists, with the shapes given by the configuration."""
    return {
        row: keras_shape(row, config, contents.num_labels or 2)
        for row in table(config.num_hidden_layers)
        if (row in contents.found if row.tied_to else is_required(row) or part(row) in contents.parts)
    }


def _trained(contents: matching.Contents) -> list[str]:
    """The architectures whose parts all exist; BertForPreTraining stands for both of its heads."""
    whole = [name for name, parts in heads.ARCHITECTURES.items() if parts and set(parts) <= contents.parts]
    if "BertForPreTraining" in whole:
        whole = [name for name in whole if name not in ("BertForMaskedLM", "BertForNextSentencePrediction")]
    return whole


def _classifier(described: heads.Described, contents: matching.Contents) -> str:
    """Which of the two classifiers a head named `classifier` is."""
    named = described.architecture or ""
    return named if "Classification" in named else heads.architecture_of(contents.parts & {"pooler", "classifier"})


def _look_at_tokenizer(found: Inspection, config: BertConfig | None) -> None:
    """Creates the tokenizer as the tools would; one that is not supported is a problem here too."""
    try:
        beside = tokenizers.find_beside(found.folder or found.path)
        if beside is None:
            found.problems.append(f"{found.path}: there is no tokenizer beside it; name one with --vocab_file")
            return
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            tokenizer = tokenizers.from_pretrained(Tokenizer, beside.folder)
        found.notes += [str(warning.message) for warning in warned if warning.category is UserWarning]
    except InputError as error:
        found.problems.append(str(error))
        return
    name, size = os.path.basename(beside.place), len(tokenizer.vocab)
    settings = {key: value for key, value in tokenizer.settings().items() if isinstance(value, str | bool)}
    found.tokenizer = {"file": name, "pieces": size, "settings": settings, "reason": beside.reason}
    if config is not None and size > config.vocab_size:
        found.problems.append(
            f"{found.path}: {name} has {size:,} pieces, but the model has vocab_size {config.vocab_size:,}"
        )
