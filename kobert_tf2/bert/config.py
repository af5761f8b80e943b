"""The configuration of a BERT: sizes and dropout rates, read from the files of either format and validated."""

import dataclasses
import math

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files, other_models
from kobert_tf2.bert.checkpoint_files import Source
from kobert_tf2.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The sizes and rates of a BERT, under the names of `bert_config.json`.

    `hidden_act` has Hugging Face's meaning: "gelu" is the exact erf form and "gelu_new" the tanh form. Google's
    files write "gelu" for the tanh form: read them with `from_google_json`. `tie_word_embeddings` false: the masked-LM
    head scores with a matrix of its own, not with the table of the word embeddings.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    tie_word_embeddings: bool = True
    classifier_dropout: float | None = None  # before a classification head; None: `hidden_dropout_prob`

    def __post_init__(self) -> None:
        for name in _SIZES:
            _check_size(name, getattr(self, name))
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps"):
            _check_number(name, getattr(self, name))
        if isinstance(self.pad_token_id, bool) or not isinstance(self.pad_token_id, int):
            raise InputError(f"pad_token_id must be a whole number. Received: {self.pad_token_id!r:.100}")
        if not isinstance(self.tie_word_embeddings, bool):
            raise InputError(f"tie_word_embeddings must be true or false. Received: {self.tie_word_embeddings!r:.100}")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size must be a multiple of num_attention_heads. "
                f"Received: hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1. Received: {getattr(self, name)!r}")
        if self.layer_norm_eps <= 0:
            raise InputError(f"layer_norm_eps must be above 0. Received: {self.layer_norm_eps!r:.100}")
        if self.classifier_dropout is not None and not _is_rate(self.classifier_dropout):
            raise InputError(
                f"classifier_dropout must be at least 0 and below 1. Received: {self.classifier_dropout!r:.100}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise InputError(f"hidden_act must be one of {', '.join(ACTIVATIONS)}. Received: {self.hidden_act!r:.100}")

    @classmethod
    def from_google_json(cls, path: str, *, vocab_size: int | None = None) -> "BertConfig":
        """Reads a `bert_config.json` of the original scripts, whose "gelu" is the tanh form.

        `vocab_size` is used if the file has none.
        """
        values = {"hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 16}
        values |= ({} if vocab_size is None else {"vocab_size": vocab_size}) | _read_config(path)
        act = values["hidden_act"]
        if act is None or isinstance(act, str):
            values["hidden_act"] = _GOOGLE_ACTIVATIONS.get(act and act.lower(), act)
        return cls._from_values(values, path)

    @classmethod
    def from_json(cls, path: str) -> "BertConfig":
        """Reads a Hugging Face `config.json`, whose "gelu" is the erf form.

        A missing key has the default of `transformers`; the sizes that define a model are required.
        """
        values = {"hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2, **_read_config(path)}
        act = values["hidden_act"]
        if isinstance(act, str):
            values["hidden_act"] = _SAME_FUNCTION.get(act, act)
        return cls._from_values(values, path)

    @classmethod
    def from_pretrained(cls, path: str) -> "BertConfig":
        """The configuration of a model directory, a TF1 checkpoint or a hub id; see
        `BertBackbone.from_pretrained`."""
        return cls.from_source(checkpoint_files.find_source(path))

    @classmethod
    def from_source(cls, source: Source) -> "BertConfig":
        """The configuration that belongs to the weights found."""
        return cls.from_google_json(source.config) if source.format == "tf1" else cls.from_json(source.config)

    @classmethod
    def _from_values(cls, values: dict, path: str) -> "BertConfig":
        if values.get("pad_token_id", 0) is None:  # No row of the embeddings is for padding; none of ours is, either.
            del values["pad_token_id"]
        known = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in _SIZES if name not in values]
        if missing:
            raise InputError(f"{path}: expected a BERT configuration, but {', '.join(missing)} is missing")
        try:
            other_models.refuse(values)
            config = cls(**{name: values[name] for name in known if name in values})
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        other_models.report_unknown_keys(values, known, path)
        return config

    def check_takes_pairs(self, source: str | None, given: str) -> None:
        """Raises `InputError` for pairs of texts if there is only one segment; `source` names the configuration's
        file.
        """
        if self.type_vocab_size < 2:
            raise InputError(
                f"{source or 'the configuration'}: with type_vocab_size {self.type_vocab_size} this model takes single "
                f"texts alone, but {given}"
            )

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def to_google_dict(self) -> dict:
        """The keys and values of the original `bert_config.json`. An activation without a name there is an
        `InputError`.
        """
        if self.hidden_act not in _AS_GOOGLE_SAYS:
            raise InputError(
                f"hidden_act={self.hidden_act!r:.100} does not exist in the original bert_config.json (its 'gelu' is "
                "the tanh form), so this model would answer differently there"
            )
        if self.layer_norm_eps != 1e-12:
            raise InputError(
                f"layer_norm_eps={self.layer_norm_eps} cannot be said in the original bert_config.json, which means "
                "1e-12: this model would answer differently there"
            )
        unknown_there = ("layer_norm_eps", "pad_token_id", "tie_word_embeddings", "classifier_dropout")
        values = {name: value for name, value in self.to_dict().items() if name not in unknown_there}
        return dict(values, hidden_act=_AS_GOOGLE_SAYS[self.hidden_act])


# The largest of each that is taken for meant: a configuration comes from outside, and a billion layers are memory and
# hours before any weight is missed.
_SIZES = {
    "vocab_size": 100_000_000,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1_000,
    "num_attention_heads": 1 << 16,
    "intermediate_size": 1 << 20,
    "max_position_embeddings": 1 << 24,
    "type_vocab_size": 1 << 16,
}
# The values of `hidden_act`, in Hugging Face's meaning; the functions are in `kernels/plain.py`.
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "linear")
_AS_GOOGLE_SAYS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu", "tanh": "tanh", "linear": "linear"}
_GOOGLE_ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu", "tanh": "tanh", "": "linear", None: "linear"}


# Hugging Face's aliases of these functions.
_SAME_FUNCTION = {
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_pytorch_tanh",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
}


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _check_size(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a positive whole number. Received: {value!r:.100}")
    if value > _SIZES[name]:
        raise InputError(f"{name} must be at most {_SIZES[name]:,}. Received: {value:,}")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InputError(f"{name} must be a number that is not negative. Received: {value!r:.100}")


def _read_config(path: str) -> dict:
    values = files.read_json(path, dict)
    if "registered_name" in values:
        raise InputError(
            f"{path}: this is a keras-hub preset; turn it into a model directory: "
            "python tools/convert_checkpoint.py --to=hf"
        )
    return values
