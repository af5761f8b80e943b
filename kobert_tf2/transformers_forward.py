"""What Hugging Face `transformers` answers for a model directory, asked in a process of its own.

TensorFlow and PyTorch's compiler each carry an LLVM, and a process that loads both can abort ("registered more than
once"). So this runs as `python -m kobert_tf2.transformers_forward FOLDER BATCH.npz ANSWERS.npz`, and nothing here
imports TensorFlow.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from kobert_tf2.errors import InputError

# Hugging Face's names for our outputs.
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

    `batch` holds `input_ids input_mask segment_ids`, and `masked_lm_positions` where masked-LM logits are wanted
    there alone. `loading_problems` among the outputs is what `transformers` said of missing, unexpected and
    mismatched weights, as JSON.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = f"{scratch}/batch.npz", f"{scratch}/answers.npz"
        np.savez(asked, **{name: np.asarray(values) for name, values in batch.items()})
        command = [sys.executable, "-m", "kobert_tf2.transformers_forward", folder, asked, answered]
        result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, USE_TF="0"))
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"{folder}: transformers could not load it or run it ({last})")
        with np.load(answered) as answers:
            return dict(answers)


def answer(folder: str, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`forward`, in this process."""
    import torch
    import transformers

    with open(f"{folder}/config.json", encoding="utf-8") as file:
        name = json.load(file)["architectures"][0]
    model, problems = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    with torch.no_grad():
        outputs = model.eval()(
            input_ids=torch.tensor(batch["input_ids"]).long(),
            attention_mask=torch.tensor(batch["input_mask"]).long(),
            token_type_ids=torch.tensor(batch["segment_ids"]).long(),
        )
    answers = {
        ours: outputs[theirs].float().numpy() for theirs, ours in _NAMES.items() if outputs.get(theirs) is not None
    }
    if name == "BertForMaskedLM":
        answers["masked_lm_logits"] = answers.pop("logits")
    if "masked_lm_logits" in answers and "masked_lm_positions" in batch:
        positions = batch["masked_lm_positions"][:, :, None].astype(np.int64)
        answers["masked_lm_logits"] = np.take_along_axis(answers["masked_lm_logits"], positions, axis=1)
    answers["loading_problems"] = np.array(
        json.dumps({key: sorted(map(str, value)) for key, value in problems.items()})
    )
    return answers


if __name__ == "__main__":
    _folder, _batch, _answers = sys.argv[1:]
    with np.load(_batch) as _values:
        np.savez(_answers, **answer(_folder, dict(_values)))
