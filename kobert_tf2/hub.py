"""Models of the Hugging Face hub: an id becomes a folder, through `huggingface_hub`, its cache and its variables."""

import re
from collections.abc import Iterable

from kobert_tf2.errors import InputError

# `name` or `owner/name`: nothing that could lead out of a folder.
_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")


def is_id(name: str) -> bool:
    """Whether the hub could have a model of this name."""
    return _ID.fullmatch(name) is not None and ".." not in name


def fetch(name: str, patterns: Iterable[str]) -> str:
    """The folder of the client's cache that holds the model's files, downloaded where they are not there yet.

    `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_HOME` are the client's own. What it cannot read is an `InputError`.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    hub = constants.ENDPOINT
    try:
        return snapshot_download(name, allow_patterns=list(patterns))
    except RepositoryNotFoundError:
        raise InputError(f"{name}: there is no such folder here, and no such model at {hub}") from None
    except Exception as error:
        address = f"{hub}/{name}"
        raise InputError(
            f"{name}: there is no such folder here, and {address} could not be read ({_first_line(error)}); download "
            f"config.json, model.safetensors and vocab.txt from {address} into a folder and give that folder instead"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
