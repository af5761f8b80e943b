"""A SentencePiece tokenizer for Hugging Face `transformers`: the same pieces and ids, without kobert_tf2.

`hf_bundle.py` writes this class and all that it needs into one file, which is saved with the tokenizer.
"""

import os
import shutil
from typing import Any

from transformers import PreTrainedTokenizer

from kobert_tf2.tokenization.decoding import sentencepiece_text
from kobert_tf2.tokenization.sentencepiece import SentencePieceModel


class KoBertTokenizer(PreTrainedTokenizer):
    """SentencePiece's pieces under the ids of `vocab.txt` (`kobert_tf2` in tokenizer_config.json has the settings)."""

    vocab_files_names = {"vocab_file": "vocab.txt", "sentencepiece_file": "spiece.model"}  # noqa: RUF012
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab_file: str,
        sentencepiece_file: str,
        kobert_tf2: dict | None = None,
        unk_token: str = "[UNK]",
        **kwargs: Any,
    ) -> None:
        with open(vocab_file, encoding="utf-8-sig", newline="") as file:
            self._piece_of = file.read().replace("\r\n", "\n").rstrip("\n").split("\n")
        self._vocab = {piece: i for i, piece in enumerate(self._piece_of)}
        settings = (kobert_tf2 or {}).get("settings", {})
        self._path = sentencepiece_file
        self._model = SentencePieceModel(sentencepiece_file, do_lower_case=settings.get("do_lower_case", False))
        names = ("pad_token", "cls_token", "sep_token", "mask_token")
        self._special = {str(kwargs[name]) for name in names if kwargs.get(name)}
        super().__init__(unk_token=unk_token, kobert_tf2=kobert_tf2, **kwargs)

    @property
    def vocab_size(self) -> int:
        return len(self._vocab)

    def get_vocab(self) -> dict[str, int]:
        return {**self._vocab, **self.added_tokens_encoder}

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        unknown = str(self.unk_token)
        known = (piece if piece in self._vocab else unknown for piece in self._model.tokenize(text))
        return [unknown if piece in self._special else piece for piece in known]

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocab.get(token, self._vocab[str(self.unk_token)])

    def _convert_id_to_token(self, index: int) -> str:
        return self._piece_of[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return sentencepiece_text(tokens)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        first = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        if already_has_special_tokens:
            return [int(i in self.all_special_ids) for i in token_ids_0]
        first = [1, *[0] * len(token_ids_0), 1]
        return first if token_ids_1 is None else [*first, *[0] * len(token_ids_1), 1]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, str]:
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        vocab, model = (os.path.join(save_directory, f"{prefix}{name}") for name in ("vocab.txt", "spiece.model"))
        with open(vocab, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{piece}\n" for piece in self._piece_of)
        if os.path.abspath(model) != os.path.abspath(self._path):
            shutil.copyfile(self._path, model)
        return vocab, model
