"""Downloads models of the Hugging Face hub into a folder, with `huggingface_hub`, its cache and its environment
variables.
"""

import pathlib
import re
from collections.abc import Iterable

from kobert_tf2.errors import InputError

# `name` or `owner/name`, optionally with a branch, tag or commit after an @; no path that could leave the folder.
_ID = re.compile(r"(?P<name>(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\w[\w./-]*))?")
# The possible files of a tokenizer; `*.model` is a SentencePiece model.
TOKENIZER_FILES = (
    *("vocab.txt", "tokenizer_config.json", "tokenizer.json", "added_tokens.json", "special_tokens_map.json"),
    *("*.model", "user.dic"),
)


def is_id(name: str) -> bool:
    """Whether this is a valid hub model id; a revision may follow, as in `klue/bert-base@main`."""
    return _ID.fullmatch(name) is not None and ".." not in name and "//" not in name


def _model_and_revision(name: str) -> tuple[str, str | None]:
    match = _ID.fullmatch(name)
    if not match:
        raise InputError(f"{name}: expected the id of a model, such as klue/bert-base or klue/bert-base@main")
    return match["name"], match["revision"]


def fetch(name: str, patterns: Iterable[str]) -> str:
    """The cache folder with the model's files; missing files are downloaded.

    The client reads `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_HOME`. Raises `InputError` if it cannot read the model.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    hub = constants.ENDPOINT
    model, revision = _model_and_revision(name)
    try:
        return snapshot_download(model, revision=revision, allow_patterns=list(patterns))
    except RevisionNotFoundError:
        raise InputError(f"{name}: {hub}/{model} has no branch, tag or commit {revision!r}") from None
    except RepositoryNotFoundError:
        raise InputError(f"{name}: there is no such folder here, and no such model at {hub}") from None
    except Exception as error:
        address = f"{hub}/{model}"
        raise InputError(
            f"{name}: there is no such folder here, and {address} could not be read ({_first_line(error)}); download "
            f"config.json, model.safetensors and vocab.txt from {address} into a folder and give that folder instead"
        ) from None


def file_names(name: str) -> list[str]:
    """The names of all files of a model; when offline, of those in the client's cache."""
    from huggingface_hub import HfApi

    model, revision = _model_and_revision(name)
    try:
        return [entry.rfilename for entry in HfApi().model_info(model, revision=revision).siblings or ()]
    except Exception:
        folder = fetch(name, TOKENIZER_FILES)
        return sorted(path.relative_to(folder).as_posix() for path in pathlib.Path(folder).rglob("*") if path.is_file())


def tensor_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The tensor names and shapes in a model's safetensors files, read from the headers without downloading weights."""
    from huggingface_hub import HfApi

    model, revision = _model_and_revision(name)
    try:
        metadata = HfApi().get_safetensors_metadata(model, revision=revision)
    except Exception as error:
        raise InputError(
            f"{name}: the header of its safetensors file could not be read ({_first_line(error)})"
        ) from None
    shards = metadata.files_metadata.values()
    return {tensor: tuple(info.shape) for shard in shards for tensor, info in shard.tensors.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
