"""A conversion from one format to another, with a forward pass on both sides at its end.

Writing, our answer and the other side's answer each take place in a process that ends with it, so that the memory of
TensorFlow and of PyTorch is never taken together, and this one stays small.
"""

from kobert_tf2 import files, outputs, parallel
from kobert_tf2.bert.checkpoint_files import GOOGLE_CONFIG, HF_CONFIG, KERAS_HUB_METADATA
from kobert_tf2.conversion import compare as comparison
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
    tokenizer_settings: dict | None = None,
) -> dict:
    """Writes the model at `path` as a folder `output` in the format `to`: "hf", "tf1" or "keras_hub".

    `path` is whatever `from_pretrained` takes, or a keras-hub preset folder. `architecture` is the Hugging Face class
    to name in `config.json`; by default the one that the heads in the checkpoint belong to. A `vocab.txt` beside the
    input goes along; where no tokenizer settings lie beside it, `tokenizer_settings` and otherwise plain BERT's are
    written.

    Returns the number of weights, the parts, and the largest difference between the answers of both sides.
    """
    path, output = str(path), str(output)
    if to not in FORMATS:
        raise InputError(f"to must be one of {', '.join(FORMATS)}. Received: {to!r}")
    _check_output(path, output, overwrite=overwrite)
    with outputs.only_run(output):
        summary = parallel.in_subprocess(
            _rewrite,
            path,
            output,
            to=to,
            architecture=architecture,
            overwrite=overwrite,
            allow_pickle=allow_pickle,
            tokenizer_settings=tokenizer_settings,
        )
    if not compare:
        return summary
    compared = comparison.compare(path, output, to=to, architecture=summary["architecture"], allow_pickle=allow_pickle)
    return summary | compared


# Each format's file that carries our sign.
_SIGNED = (HF_CONFIG, GOOGLE_CONFIG, KERAS_HUB_METADATA)


def _check_output(path: str, output: str, *, overwrite: bool) -> None:
    """Only a folder that a conversion wrote, or `save_pretrained`, is written into again."""
    outputs.refuse_inputs({}, {"input": path}, replaced={"output": output})
    if files.exists(output) and not overwrite:
        raise InputError(f"{output}: already there; name another folder, or ask for it to be overwritten")
    what = "a model that kobert_tf2 wrote"
    names = ("*.json", "*.ckpt.*", "*.safetensors", "*.h5", "*.txt", "assets")

    def is_ours(folder: str) -> bool:
        return any(outputs.is_signed(f"{folder}/{name}") for name in _SIGNED)

    outputs.check_folder(output, names, what=what, is_ours=is_ours)


def _rewrite(*args, **kwargs) -> dict:
    from kobert_tf2.conversion import rewriting  # TensorFlow comes with it

    return rewriting.rewrite(*args, **kwargs)
