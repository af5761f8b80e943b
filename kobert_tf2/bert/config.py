"""The sizes and rates of a BERT, read from either format's configuration file and checked."""

import dataclasses

from kobert_tf2 import files
from kobert_tf2.bert import checkpoint_files
from kobert_tf2.bert.checkpoint_files import Source
from kobert_tf2.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The sizes and rates of a BERT, under the names of `bert_config.json`.

    `hidden_act` has Hugging Face's meaning: "gelu" is the exact erf form and "gelu_new" the tanh form. Google's
    files write "gelu" for the tanh form: read them with `from_google_json`.
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

    def __post_init__(self):
        for name in _SIZES:
            _check_size(name, getattr(self, name))
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size must be a multiple of num_attention_heads. "
                f"Received: hidden_size={self.hidden_size}, num_attention_heads={self.num_attention_heads}"
            )
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1. Received: {getattr(self, name)!r}")
        if self.hidden_act not in ACTIVATIONS:
            raise InputError(f"hidden_act must be one of {', '.join(ACTIVATIONS)}. Received: {self.hidden_act!r}")

    @classmethod
    def from_google_json(cls, path: str) -> "BertConfig":
        """Reads a `bert_config.json` of the original scripts, whose "gelu" is the tanh form."""
        values = _read_config(path)
        act = values["hidden_act"]
        return cls._from_values(dict(values, hidden_act=_GOOGLE_ACTIVATIONS.get(act, act)), path)

    @classmethod
    def from_json(cls, path: str) -> "BertConfig":
        """Reads a Hugging Face `config.json`, whose "gelu" is the erf form."""
        if "registered_name" in files.read_json(path):
            raise InputError(
                f"{path}: this is a keras-hub preset; turn it into a model directory: "
                "python tools/convert_checkpoint.py --to=hf"
            )
        values = _read_config(path)
        if values.get("model_type", "bert") != "bert":
            raise InputError(f'{path}: expected "model_type": "bert", but found {values["model_type"]!r}')
        if values.get("position_embedding_type", "absolute") != "absolute":
            raise InputError(f"{path}: expected absolute positions, but found {values['position_embedding_type']!r}")
        if values.get("is_decoder") or values.get("add_cross_attention"):
            raise InputError(f"{path}: expected an encoder, but this is a decoder's configuration")
        return cls._from_values(values, path)

    @classmethod
    def from_pretrained(cls, path: str) -> "BertConfig":
        """The configuration of a model directory, a TF1 checkpoint or a hub id; see
        `BertBackbone.from_pretrained`."""
        return cls.from_source(checkpoint_files.find_source(path))

    @classmethod
    def from_source(cls, source: Source) -> "BertConfig":
        """The configuration beside weights that were found."""
        return cls.from_google_json(source.config) if source.format == "tf1" else cls.from_json(source.config)

    @classmethod
    def _from_values(cls, values: dict, path: str) -> "BertConfig":
        try:
            return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.name in values})
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)

    def to_google_dict(self) -> dict:
        """The keys and values of the original `bert_config.json`; an activation that it cannot name is an
        `InputError`."""
        if self.hidden_act not in _AS_GOOGLE_SAYS:
            raise InputError(
                f"hidden_act={self.hidden_act!r} does not exist in the original bert_config.json (its 'gelu' is the "
                "tanh form), so this model would answer differently there"
            )
        if self.layer_norm_eps != 1e-12:
            raise InputError(
                f"layer_norm_eps={self.layer_norm_eps} cannot be said in the original bert_config.json, which means "
                "1e-12: this model would answer differently there"
            )
        values = {
            name: value for name, value in self.to_dict().items() if name not in ("layer_norm_eps", "pad_token_id")
        }
        return dict(values, hidden_act=_AS_GOOGLE_SAYS[self.hidden_act])


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# What `hidden_act` may say, in Hugging Face's meaning; the functions themselves are in `layers.py`.
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "linear")
_AS_GOOGLE_SAYS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu", "tanh": "tanh", "linear": "linear"}
_GOOGLE_ACTIVATIONS = {"gelu": "gelu_new", "": "linear", None: "linear"}


def _check_size(name: str, value) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a positive whole number. Received: {value!r}")


def _read_config(path: str) -> dict:
    values = files.read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, but found {type(values).__name__}")
    missing = [name for name in (*_SIZES, "hidden_act") if name not in values]
    if missing:
        raise InputError(f"{path}: expected a BERT configuration, but {', '.join(missing)} is missing")
    return values
