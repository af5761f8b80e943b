"""In which language the pages that we write speak: Korean where the system does, or as `--language` says."""

import os

LANGUAGES = ("en", "ko")
_chosen: str | None = None


def choose(language: str | None) -> None:
    """Sets the language for this process; None: the system's."""
    global _chosen
    _chosen = language


def current() -> str:
    """The language chosen, or else the system's where it is Korean, or else English."""
    if _chosen:
        return _chosen
    # In the order in which POSIX asks them.
    system = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ko" if system.lower().startswith("ko") else "en"


def say(english: str, korean: str) -> str:
    """The one of the two that is in the current language."""
    return korean if current() == "ko" else english
