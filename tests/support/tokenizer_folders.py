"""Toy-sized models in the usual formats, as inputs for `--vocab_file`, `--bert_config_file` and `--init_checkpoint`."""

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
    """A model directory written by this package, with a morpheme tokenizer."""
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
    """A checkpoint of the original scripts with its vocabulary, and optionally with its configuration."""
    save_tf1(model(), folder)
    write_vocab(folder)
    if not with_config:
        (folder / "bert_config.json").rename(folder.parent / f"{folder.name}.json")
    return folder


def kobert(folder: pathlib.Path) -> pathlib.Path:
    """A model directory like monologg/kobert: a SentencePiece model, and a vocab.txt in a different order."""
    from sentencepiece_models import kobert_folder

    kobert_folder(folder)
    size = len((folder / "vocab.txt").read_text("utf-8").splitlines())
    made = models.BertForPreTraining(config(vocab_size=size, num_hidden_layers=1, hidden_act="gelu"))
    made.save_pretrained(folder)
    return folder


def tokenizer_json(folder: pathlib.Path) -> pathlib.Path:
    """A model directory as transformers 5 writes it, without vocab.txt."""
    import tokenizers
    from tokenizers import models as of_library
    from tokenizers import normalizers, pre_tokenizers

    model(hidden_act="gelu").save_pretrained(folder)
    vocab = {piece: i for i, piece in enumerate(PIECES)}
    made = tokenizers.Tokenizer(of_library.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.save(str(folder / "tokenizer.json"))
    return folder
