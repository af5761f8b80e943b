"""Toy-sized folders with the structure of the published Korean models: their files, the keys and values of their
configuration except sizes, and the names of their weights. The weights and vocabularies are generated here.

Where a model's files could not be inspected (those of KorBERT and HanBERT are not public, nor was lassl's
configuration), the usual form of its family is used.
"""

import dataclasses
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file
from small_models import config, save_tf1, with_large_weights

from kobert_tf2.bert import models, pretrained, weight_names

SYLLABLES = "가나다라마바사아자차카타파하은는이을를에서의도로고"
WORDPIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *SYLLABLES,
    *(f"##{s}" for s in SYLLABLES),
    ".",
    "a",
    "##b",
    "A",
]
OF_GOOGLE = {
    "directionality": "bidi",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}
BERT_TOKENIZER = {
    "do_lower_case": False,
    "do_basic_tokenize": True,
    "never_split": None,
    "tokenize_chinese_chars": True,
    "strip_accents": None,
    "tokenizer_class": "BertTokenizer",
    **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")},
}


@dataclasses.dataclass(frozen=True)
class Published:
    """The published form of one model.

    Attributes:
      config: keys of config.json other than the sizes; None for a TF1 checkpoint with Google's bert_config.json.
      weights: "safetensors", "pickle" or the name of a TF1 checkpoint.
      has_heads: whether there are masked LM and next sentence heads, with the names of a pre-training model; otherwise
        the names are a bare encoder's.
      tokenizer: the contents of tokenizer_config.json; None if there is no such file.
      vocabulary: the name of the vocabulary file; "*.model" is a SentencePiece model.
      mark: the mark on pieces that only this model's own tokenizer produces.
    """

    weights: str
    config: dict | None = None
    has_heads: bool = True
    tokenizer: dict | None = None
    vocabulary: str = "vocab.txt"
    mark: str = ""
    positions: int = 24
    other_files: tuple[str, ...] = ()

    @property
    def reads_tokenizer(self) -> bool:
        """Whether this package can read the tokenizer."""
        return not self.mark


PUBLISHED = {
    "klue/bert-base": Published(
        "safetensors", {"architectures": ["BertForMaskedLM"], "pad_token_id": 0}, tokenizer=BERT_TOKENIZER
    ),
    "google-bert/bert-base-multilingual-cased": Published(
        "safetensors",
        {"architectures": ["BertForMaskedLM"], **OF_GOOGLE},
        tokenizer={"do_lower_case": False, "model_max_length": 512},
    ),
    "kykim/bert-kor-base": Published(
        "safetensors",
        {"architectures": ["BertForMaskedLM"], "embedding_size": 16, "gradient_checkpointing": False, **OF_GOOGLE},
        tokenizer={"do_lower_case": True, "strip_accents": False, "model_max_length": 512},
    ),
    "monologg/kobert": Published(
        "safetensors",
        {"architectures": ["BertModel"], "pad_token_id": 1, "output_past": True},
        has_heads=False,
        tokenizer={"do_lower_case": False},
        vocabulary="tokenizer_78b3253a26.model",
    ),
    "skt/kobert-base-v1": Published(
        "safetensors",
        {"architectures": ["BertModel"], "pad_token_id": 1, "author": "its authors", "kobert_version": 1.0},
        has_heads=False,
        vocabulary="spiece.model",
    ),
    "beomi/kcbert-base": Published(
        "safetensors",
        {"architectures": ["BertForMaskedLM"], **OF_GOOGLE},
        tokenizer={"do_lower_case": False, "model_max_length": 300},
        positions=19,
    ),
    "snunlp/KR-BERT-char16424": Published("pickle", {}, tokenizer={"do_lower_case": False}),
    "lassl/bert-ko-base": Published(
        "pickle", {"architectures": ["BertForPreTraining"], "use_cache": True}, tokenizer=BERT_TOKENIZER
    ),
    "jinmang2/kpfbert": Published(
        "pickle",
        {"architectures": ["BertModel"], "position_embedding_type": "absolute", "torch_dtype": "float32"},
        has_heads=False,
        tokenizer=BERT_TOKENIZER,
    ),
    "KorBERT (ETRI)": Published(
        "model.ckpt", vocabulary="vocab.korean_morp.list", mark="{}/NNG_", other_files=("model.ckpt.meta",)
    ),
    "HanBERT": Published(
        "model.ckpt-3000000", vocabulary="vocab_54k.txt", mark="~~{}", other_files=("checkpoint", "moran.db")
    ),
}


def write(name: str, folder: pathlib.Path) -> str:
    """Writes the folder of a published model and returns its path."""
    published = PUBLISHED[name]
    folder.mkdir(parents=True)
    size = _write_vocabulary(published, folder)
    # As in the published models, some embedding tables have unused rows.
    sizes = config(vocab_size=size + 3, max_position_embeddings=published.positions, hidden_act=_activation(published))
    model = with_large_weights((models.BertForPreTraining if published.has_heads else models.BertBackbone)(sizes))
    if published.config is None:
        save_tf1(
            model, folder, **{"global_step": np.int64(7), "bert/pooler/dense/bias/adam_m": np.zeros(16, "float32")}
        )
        for path in folder.glob("bert_model.ckpt.*"):
            path.rename(folder / path.name.replace("bert_model.ckpt", published.weights))
    else:
        _write_hugging_face(model, published, folder)
    for other in published.other_files:
        text = f'model_checkpoint_path: "{published.weights}"' if other == "checkpoint" else ""
        (folder / other).write_text(text)
    return str(folder)


def _activation(published: Published) -> str:
    """Both formats specify gelu, which means the tanh form in Google's."""
    return "gelu_new" if published.config is None else "gelu"


def _write_vocabulary(published: Published, folder: pathlib.Path) -> int:
    """Returns the number of pieces."""
    if published.tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(published.tokenizer))
    if not published.vocabulary.endswith(".model"):
        pieces = (
            WORDPIECES if published.reads_tokenizer else [*WORDPIECES, *(published.mark.format(s) for s in SYLLABLES)]
        )
        (folder / published.vocabulary).write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
        return len(pieces)
    import sentencepiece_models

    if published.vocabulary == "spiece.model":
        path = sentencepiece_models.train(folder / published.vocabulary)
    else:
        path = f"{sentencepiece_models.kobert_folder(folder)}/{published.vocabulary}"
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=path).get_piece_size()


def _write_hugging_face(model, published: Published, folder: pathlib.Path) -> None:
    sizes = {name: value for name, value in model.config.to_dict().items() if name not in _WRITTEN_BY_LATER_VERSIONS}
    kind = {} if published.config == {} else {"model_type": "bert"}  # KR-BERT's has only the keys of Google's file
    (folder / "config.json").write_text(json.dumps({**sizes, **kind, **published.config}))
    arrays = {
        row.hf: weight_names.transpose(variable.numpy(), row, source="keras", target="hf")
        for row, variable in pretrained.variables(model).items()
    }
    arrays["bert.embeddings.position_ids"] = np.arange(published.positions)[None]
    if published.has_heads:  # the decoder is tied to the embedding table, and was saved as well
        arrays["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"].copy()
        arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"].copy()
    else:
        arrays = {name.removeprefix("bert."): array for name, array in arrays.items()}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if published.weights == "safetensors":
        save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
        return
    import torch

    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, folder / "pytorch_model.bin")


_WRITTEN_BY_LATER_VERSIONS = ("tie_word_embeddings", "classifier_dropout")
