"""Small SentencePiece models, trained on demand on the given text."""

import functools
import pathlib
import tempfile

from kobert_tf2 import sample_data


@functools.cache
def made_text() -> tuple[str, ...]:
    """Sentences of generated articles."""
    data = sample_data.korquad(40, seed=7, questions_each=2)
    contexts = [paragraph["context"] for article in data["data"] for paragraph in article["paragraphs"]]
    lines = [sentence.strip() for context in contexts for sentence in context.split(".") if sentence.strip()]
    return tuple(f"{line}." for line in lines)


@functools.cache
def _trained(lines: tuple[str, ...], vocab_size: int, options: tuple) -> bytes:
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=f"{folder}/m",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            minloglevel=2,
            num_threads=1,
            **dict(options),
        )
        return pathlib.Path(f"{folder}/m.model").read_bytes()


# As in KoBERT's, the special tokens are control symbols of the model.
OF_KOBERT = {
    "unk_id": 0, "pad_id": 1, "bos_id": -1, "eos_id": -1, "unk_piece": "[UNK]", "pad_piece": "[PAD]",
    "control_symbols": "[CLS],[SEP],[MASK]", "character_coverage": 0.9995,
}  # fmt: skip


def train(path: pathlib.Path, lines=None, *, vocab_size: int = 600, **options) -> str:
    """Writes a `.model` and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_trained(tuple(lines or made_text()), vocab_size, tuple(sorted({**OF_KOBERT, **options}.items()))))
    return str(path)


def kobert_folder(folder: pathlib.Path, lines=None, *, name: str = "tokenizer_78b3253a26.model", **options) -> str:
    """Writes a folder like monologg/kobert: the model, and a vocab.txt in a different order."""
    import sentencepiece

    model = train(folder / name, lines, **options)
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    reordered = [*pieces[:5], *reversed(pieces[5:])]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in reordered), "utf-8")
    return str(folder)
