"""The outputs of Hugging Face `transformers` for a model directory, computed in a subprocess.

TensorFlow and PyTorch's compiler both contain LLVM, and a process that loads both can abort ("registered more than
once"). So `forward` runs `answer` in a subprocess, and this module does not import TensorFlow.
"""

import contextlib
import ctypes
import glob
import importlib.util
import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kobert_tf2 import parallel
from kobert_tf2.errors import InputError

# Our names for Hugging Face's outputs.
_NAMES = {
    "last_hidden_state": "sequence_output",
    "pooler_output": "pooled_output",
    "prediction_logits": "masked_lm_logits",
    "seq_relationship_logits": "next_sentence_logits",
    "start_logits": "start_logits",
    "end_logits": "end_logits",
    "logits": "logits",
}


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def forward(folder: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the model that `transformers` loads from `folder`, under our names.

    `batch` holds `input_ids input_mask segment_ids`, and `masked_lm_positions` if masked-LM logits are wanted only
    there. The output `loading_problems` lists missing, unexpected and mismatched weights, as `transformers` reports
    them, as JSON.
    """
    return parallel.in_subprocess(_answer_quietly, folder, {name: np.asarray(values) for name, values in batch.items()})


def _answer_quietly(folder: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with _quietly(folder):
        return answer(folder, batch)


@contextlib.contextmanager
def _quietly(folder: str) -> Iterator[None]:
    """Disables progress bars and turns the exceptions of `transformers` into an `InputError`."""
    os.environ["USE_TF"] = "0"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # Any exception: its class may not be importable in the parent process.
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"{folder}: transformers could not load it or run it ({last})") from None


def answer(folder: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`forward`, in this process."""
    import transformers

    with open(f"{folder}/config.json", encoding="utf-8") as file:
        name = json.load(file)["architectures"][0]
    model, problems = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    answers = _answers(model, folder, batch)
    answers["loading_problems"] = np.array(
        json.dumps({key: sorted(map(str, value)) for key, value in problems.items()})
    )
    return answers


def answer_as(
    classes: Sequence[str],
    folder: str,
    batch: dict[str, np.ndarray],
    *,
    config_file: str,
    num_labels: int | None = None,
    prefix: str = "",
    has_pooler: bool = True,
) -> dict[str, np.ndarray]:
    """The outputs of several classes of `transformers` with the weights in a folder, in this process, in float32.

    The configuration may have another name or lack the number of labels, and all names may have a prefix. A weight that
    `transformers` would initialise is an `InputError`.
    """
    with _quietly(folder):
        import torch
        import transformers

        answers: dict[str, np.ndarray] = {}
        model = None
        for name in classes:
            del model  # before the next one takes its memory
            config = transformers.BertConfig.from_json_file(config_file)
            config.num_labels = num_labels if "Classification" in name and num_labels else 2  # a span head has 2 too
            options: dict[str, Any] = {"key_mapping": {f"^{re.escape(prefix)}": ""}} if prefix else {}
            options["torch_dtype"] = torch.float32  # not the configuration's, to which the file's would be rounded
            if name == "BertModel":
                options["add_pooling_layer"] = has_pooler
            model, problems = getattr(transformers, name).from_pretrained(
                folder, config=config, output_loading_info=True, **options
            )
            _take_the_one_bias(model, problems)
            if problems["missing_keys"]:
                raise InputError(f"{folder}: transformers does not find {', '.join(sorted(problems['missing_keys']))}")
            answers |= _answers(model, folder, batch)
        return answers


def _take_the_one_bias(model: Any, problems: dict) -> None:
    """The bias of an untied decoder has two names: transformers 4 wrote one, transformers 5 reads the other."""
    missing = set(problems["missing_keys"])
    bias, of_decoder = "cls.predictions.bias", "cls.predictions.decoder.bias"
    if of_decoder in missing and bias not in missing:
        model.cls.predictions.decoder.bias = model.cls.predictions.bias
    if len(missing & {bias, of_decoder}) == 1:
        problems["missing_keys"] = missing - {bias, of_decoder}


def _answers(model: Any, folder: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch

    _give_pages_back_after_each_layer(model, folder)
    with torch.no_grad():
        outputs = model.eval()(
            input_ids=torch.tensor(batch["input_ids"]).long(),
            attention_mask=torch.tensor(batch["input_mask"]).long(),
            token_type_ids=torch.tensor(batch["segment_ids"]).long(),
        )
    answers = {
        ours: outputs[theirs].float().numpy() for theirs, ours in _NAMES.items() if outputs.get(theirs) is not None
    }
    renamed = {"BertForMaskedLM": "masked_lm_logits", "BertForNextSentencePrediction": "next_sentence_logits"}
    if type(model).__name__ in renamed:
        answers[renamed[type(model).__name__]] = answers.pop("logits")
    if "masked_lm_logits" in answers and "masked_lm_positions" in batch:
        positions = batch["masked_lm_positions"][:, :, None].astype(np.int64)
        answers["masked_lm_logits"] = np.take_along_axis(answers["masked_lm_logits"], positions, axis=1)
    return answers


def _give_pages_back_after_each_layer(model: Any, folder: str) -> None:
    """Keeps the weights of one layer in memory instead of the whole model's, if weights are memory-mapped.

    transformers computes with the memory map itself, and every page that was read counts as memory. A page that is
    released is read from the file again when it is accessed; other memory is not touched.
    """
    paths = {os.path.realpath(path) for path in glob.glob(f"{glob.escape(folder)}/*.safetensors")}
    if not os.path.exists(_MAPS):
        return
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda *_: _give_pages_back(paths))


_MAPS = "/proc/self/maps"  # on Linux: address range, permissions, offset, device, inode, path


def _give_pages_back(paths: set[str]) -> None:
    with open(_MAPS, encoding="utf-8") as maps:
        fields = [line.rstrip("\n").split(maxsplit=5) for line in maps]
    for start_to_end in [row[0] for row in fields if row[-1] in paths]:
        start, end = (int(number, 16) for number in start_to_end.split("-"))
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


_libc = ctypes.CDLL(None)
