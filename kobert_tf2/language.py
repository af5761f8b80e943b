"""The language of the pages that we write: Korean if the system's locale is Korean, or that of `--language`."""

import os

LANGUAGES = ("en", "ko")
_chosen: str | None = None


def choose(language: str | None) -> None:
    """Sets the language of this process; None: the system's."""
    global _chosen
    _chosen = language


def current() -> str:
    """The chosen language; otherwise Korean if the system's is Korean, else English."""
    if _chosen:
        return _chosen
    # In POSIX order of precedence.
    system = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ko" if system.lower().startswith("ko") else "en"


def say(english: str, korean: str) -> str:
    """Returns the text in the current language."""
    return korean if current() == "ko" else english
