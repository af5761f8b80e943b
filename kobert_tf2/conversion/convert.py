"""Converts a model from one format to another and compares the outputs of both sides.

Writing and comparing run in subprocesses, so that TensorFlow and PyTorch are never in memory together and this process
stays small.
"""

from typing import Any

from kobert_tf2 import files, outputs, parallel
from kobert_tf2.bert import checkpoint_files, model_card
from kobert_tf2.bert.checkpoint_files import GOOGLE_CONFIG, HF_CONFIG, KERAS_HUB_METADATA
from kobert_tf2.conversion import compare as comparison
from kobert_tf2.conversion.compare import Model
from kobert_tf2.errors import InputError

FORMATS = ("hf", "tf1", "keras_hub")


def convert(
    path: str,
    output: str,
    *,
    to: str,
    architecture: str | None = None,
    overwrite: bool = False,
    allow_pickle: bool = False,
    compare: bool = True,
    config_file: str | None = None,
    vocab_file: str | None = None,
    tokenizer_settings: dict | None = None,
) -> dict:
    """Writes the model at `path` as a folder `output` in the format `to`: "hf", "tf1" or "keras_hub".

    `path` is anything that `from_pretrained` accepts, or a keras-hub preset folder. `architecture` is the Hugging Face
    class for `config.json`; by default the one that the heads of the checkpoint belong to. `config_file` and
    `vocab_file` replace those beside the input. The tokenizer is converted too; a vocabulary without settings gets
    `tokenizer_settings`, by default those of plain BERT.

    Returns the number of weights, the parts, and the largest difference between the outputs of both sides. If they
    differ by more than rounding, an `InputError` is raised and `output` is not written.
    """
    path, output = str(path), str(output)
    if to not in FORMATS:
        raise InputError(f"to must be one of {', '.join(FORMATS)}. Received: {to!r}")
    _check_output({"input": path, "bert_config_file": config_file, "vocab_file": vocab_file}, output, overwrite)
    source = checkpoint_files.find_source_or_preset(path, allow_pickle=allow_pickle, needs_config=not config_file)
    source = source._replace(config=config_file or source.config)
    with outputs.only_run(output), files.whole_folder(output, overwrite=overwrite) as unfinished:
        model, summary = parallel.in_subprocess(
            _write,
            source,
            unfinished,
            to,
            vocab_file,
            tokenizer_settings,
            architecture=architecture,
            allow_pickle=allow_pickle,
        )
        if compare:
            summary |= _compared(path, model, unfinished, to)
        if to == "hf":
            model_card.write(unfinished, output)
    return {"output": output, **summary}


# The file of each format that carries our signature.
_SIGNED = (HF_CONFIG, GOOGLE_CONFIG, KERAS_HUB_METADATA)


def _check_output(inputs: dict[str, str | None], output: str, overwrite: bool) -> None:
    """Refuses to overwrite a folder that neither a conversion nor `save_pretrained` wrote."""
    outputs.refuse_inputs({}, inputs, replaced={"output": output})
    if files.exists(output) and not overwrite:
        raise InputError(f"{output}: already there; name another folder, or ask for it to be overwritten")
    what = "a model that kobert_tf2 wrote"
    names = ("*.json", "*.ckpt.*", "*.safetensors", "*.h5", "*.txt", "assets")

    def is_ours(folder: str) -> bool:
        return any(outputs.is_signed(f"{folder}/{name}") for name in _SIGNED)

    outputs.check_folder(output, names, what=what, is_ours=is_ours)


def _write(*args: Any, **kwargs: Any) -> tuple[Model, dict]:
    from kobert_tf2.conversion import rewriting  # imports TensorFlow

    source, folder, to, vocab_file, settings = args
    return rewriting.write(source, folder, to, rewriting.TokenizerFiles(vocab_file, settings), **kwargs)


def _compared(path: str, model: Model, folder: str, to: str) -> dict:
    found = comparison.compare(model, folder, to=to)
    if found.too_different:
        raise InputError(
            f"{path}: the converted model does not answer as {found.source_library or 'the source'} does: "
            f"{', '.join(found.too_different)} differ by up to {found.largest_difference:.3g}; nothing was written"
        )
    return {
        "source_computed_by": found.source_library,
        "compared_with": found.output_library,
        "largest_difference": found.largest_difference,
    }
