"""Models as they are found, of toy size: what `--vocab_file`, `--bert_config_file` and `--init_checkpoint` may name."""

import json
import pathlib

from small_models import config, save_tf1

from kobert_tf2.bert import models
from kobert_tf2.tokenization.tokenizer import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"사과 나무 ##나무 ##를 를 학교 ##에서 에서 CAFE cafe ##가 . 는".split()]


def write_vocab(folder: pathlib.Path, pieces: list[str] = PIECES, name: str = "vocab.txt") -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    return folder / name


def model(**changes):
    return models.BertForPreTraining(config(vocab_size=len(PIECES), num_hidden_layers=1, **changes))


def ours(folder: pathlib.Path) -> pathlib.Path:
    """A model directory that this package wrote, with morphemes."""
    model().save_pretrained(folder, Tokenizer(PIECES, continuation="morpheme"))
    return folder


def hugging_face(folder: pathlib.Path, **tokenizer_config) -> pathlib.Path:
    """A model directory as transformers writes it for a BertTokenizer."""
    model(hidden_act="gelu").save_pretrained(folder)
    write_vocab(folder)
    written = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False, **tokenizer_config}
    (folder / "tokenizer_config.json").write_text(json.dumps(written), "utf-8")
    return folder


def tf1(folder: pathlib.Path, *, with_config: bool = True) -> pathlib.Path:
    """A checkpoint of the original scripts with its vocabulary, and its configuration beside it or not."""
    save_tf1(model(), folder)
    write_vocab(folder)
    if not with_config:
        (folder / "bert_config.json").rename(folder.parent / f"{folder.name}.json")
    return folder
