"""A tokenizer's files: found by one rule for every tool, read and written.

The rule. `--vocab_file` names a folder, a vocabulary or a hub id; without it, what lies beside `--init_checkpoint` is
taken. A folder that this package wrote is read with the settings that it was saved with. The folder of a Hugging Face
BertTokenizer is plain BERT as its `tokenizer_config.json` says. A vocabulary that stands alone is plain BERT, as it
was for the original scripts, with what the command line's tokenizer flags say.

Nothing here makes a tokenizer: the class is handed in (`from_pretrained(Tokenizer, path)`).
"""

import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from kobert_tf2 import files, hub, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.hf_bundle import CODE_CLASS, CODE_FILE, tokenizer_code

VOCAB_FILE = "vocab.txt"
CONFIG_FILE = "tokenizer_config.json"
USER_DICTIONARY_FILE = "user.dic"
# Where tokenizer_config.json keeps what transformers has no key for.
OUR_KEY = "kobert_tf2"
_FILES_OF_OTHER_TOKENIZERS = ("tokenizer.json", "added_tokens.json", "special_tokens_map.json")
_FILES_OF_TOKENIZERS = (CODE_FILE, USER_DICTIONARY_FILE, *_FILES_OF_OTHER_TOKENIZERS)
# Settings that name places of one machine, not what a tokenizer does.
_PLACES = ("dictionary",)


class Found(NamedTuple):
    """A tokenizer's files as they lie: what `Tokenizer` is made of, and why."""

    vocab: str  # the path of its vocabulary
    settings: dict  # keyword arguments of `Tokenizer`
    reason: str  # where the settings are from, for a person
    is_bare: bool = False  # a vocabulary that no settings lie beside
    analyser: dict | None = None  # the fingerprint of the analyser that it was saved with


# --- Finding ---


def find(path: str) -> Found:
    """What a path or a hub id names: a tokenizer's folder, its vocabulary, or a vocabulary that stands alone."""
    path = os.fspath(path)
    if files.is_folder(path):
        return _in_folder(path.rstrip("/"))
    if files.exists(path):
        return _of_file(path)
    if files.exists(f"{path}.index"):
        return _in_folder(os.path.dirname(path) or ".")
    if not hub.is_id(path):
        raise InputError(f"{path}: expected a folder with {VOCAB_FILE} in it, a vocabulary, or the id of a hub's model")
    return _in_folder(hub.fetch(path, hub.TOKENIZER_FILES))


def find_beside(path: str) -> Found | None:
    """The tokenizer in the folder of a checkpoint or of another file; None where there is none."""
    path = os.fspath(path).split(",")[0]
    folder = path if files.is_folder(path) else os.path.dirname(path) or "."
    is_here = files.is_folder(path) or files.exists(path) or files.exists(f"{path}.index")
    if not is_here and hub.is_id(path):
        folder = hub.fetch(path, hub.TOKENIZER_FILES)
    return _in_folder(folder.rstrip("/")) if files.exists(f"{folder}/{VOCAB_FILE}") else None


def _of_file(path: str) -> Found:
    """A vocabulary. A `tokenizer_config.json` describes the `vocab.txt` beside it, and no file of another name."""
    if os.path.basename(path) == VOCAB_FILE:
        return _in_folder(os.path.dirname(path) or ".")
    return _bare(path)


def _in_folder(folder: str) -> Found:
    vocab, config_file = f"{folder}/{VOCAB_FILE}", f"{folder}/{CONFIG_FILE}"
    if not files.exists(vocab):
        raise InputError(f"{folder}: expected a tokenizer there, but it has no {VOCAB_FILE}")
    if not files.exists(config_file):
        return _bare(vocab)
    config = files.read_json(config_file, dict)
    if OUR_KEY not in config:
        return Found(vocab, _settings_of_others(config), f"as {config_file} says")
    ours = config[OUR_KEY]
    settings = _saved_settings(ours, config_file)
    if settings.get("user_dictionary"):
        settings["user_dictionary"] = f"{folder}/{settings['user_dictionary']}"
    return Found(vocab, settings, f"as saved in {config_file}", analyser=ours.get("analyser") or {})


def _saved_settings(ours: object, path: str) -> dict:
    """The settings that this package saved, each of the kind that it saves."""
    if not isinstance(ours, dict) or not isinstance(ours.get("settings"), dict):
        raise InputError(f'{path}: expected "{OUR_KEY}" to be an object with "settings", but found other JSON')
    analyser = ours.get("analyser")
    if not isinstance(analyser, dict | None) or not isinstance((analyser or {}).get("sentences", []), list):
        raise InputError(f'{path}: expected "analyser" to be null or an object, but found {files.json_name(analyser)}')
    settings = dict(ours["settings"])
    for name, value in settings.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise InputError(f"{path}: expected settings of a tokenizer, but found {name!r}")
        if not isinstance(value, kind):
            raise InputError(f"{path}: {name}: found {files.json_name(value)}, which this setting cannot be")
    dictionary = settings.get("user_dictionary")
    if dictionary and (dictionary in (".", "..") or any(separator in dictionary for separator in "/\\\0")):
        raise InputError(f"{path}: user_dictionary: expected the name of a file in this folder, but got {dictionary!r}")
    return settings


_KINDS = {
    **dict.fromkeys(("pre_tokenizer", "continuation"), str),
    **dict.fromkeys(("tags", "decompose_compounds", "do_lower_case", "strip_accents"), bool),
    **dict.fromkeys(("dictionary", "user_dictionary"), str | None),
}


def _bare(vocab: str) -> Found:
    return Found(vocab, {"pre_tokenizer": "none"}, f"no {CONFIG_FILE} describes it", is_bare=True)


def _settings_of_others(config: dict) -> dict:
    """Settings of a BertTokenizer's folder. Its own defaults are lower-casing, and stripping accents with it."""
    lower = bool(config.get("do_lower_case", True))
    accents = config.get("strip_accents")
    return {
        "pre_tokenizer": "none",
        "do_lower_case": lower,
        "strip_accents": lower if accents is None else bool(accents),
    }


# --- Reading ---


def from_pretrained(cls, path: str, **settings):
    """A tokenizer of class `cls` from a folder, a vocabulary or a hub id; `settings` go before those found."""
    found = find(path)
    return _make(cls, found, {**found.settings, **settings})


def _make(cls, found: Found, settings: dict):
    tokenizer = cls(found.vocab, **settings)
    if found.analyser is not None and tokenizer.analyser:
        folder = os.path.dirname(found.vocab)
        _warn_of_another_analyser(folder, found.analyser, tokenizer.analyser.fingerprint())
    return tokenizer


def from_flags(
    cls,
    vocab_file: str | None,
    init_checkpoint: str | None = None,
    given: dict | None = None,
    *,
    beside: Sequence[str | None] = (),
    made_with: dict | None = None,
    required: bool = True,
):
    """The tokenizer of a command line, and one line on standard error that says which it is, and why.

    Args:
        cls: `Tokenizer`.
        given: the tokenizer flags that stand on the command line; one that contradicts the folder is an `InputError`.
        beside: further paths to look beside, after `init_checkpoint`.
        made_with: the settings of a vocabulary that stands alone, as the records that it belongs to say.
        required: without it, None where there is no tokenizer.
    """
    found = find(vocab_file) if vocab_file else _first_beside((init_checkpoint, *beside))
    if found is None:
        if not required:
            return None
        if init_checkpoint:
            raise InputError(f"{init_checkpoint}: expected {VOCAB_FILE} beside it, or --vocab_file, but found neither")
        raise InputError("expected --vocab_file, or --init_checkpoint with a vocabulary beside it, but got neither")
    settings, reason = _settings_to_use(found, given or {}, made_with)
    tokenizer = _make(cls, found, settings)
    print(f"tokenizer: {_described(tokenizer, found.vocab)}: {reason}", file=sys.stderr)
    return tokenizer


def _first_beside(paths: Sequence[str | None]) -> Found | None:
    return next(filter(None, map(find_beside, filter(None, paths))), None)


def _settings_to_use(found: Found, given: dict, made_with: dict | None) -> tuple[dict, str]:
    """(the settings, why they are these)"""
    if not found.is_bare:
        _refuse_contradictions(given, found.settings, f"{os.path.dirname(found.vocab)}/{CONFIG_FILE} says")
        return {**found.settings, **given}, found.reason
    if made_with:
        _refuse_contradictions(given, made_with, "the records were made with")
        return {**made_with, **given}, "as the records were made"
    settings = {**found.settings, **given}
    # As in the original: accents go with the case, unless the command line says otherwise.
    if settings["pre_tokenizer"] == "none" and settings.get("do_lower_case"):
        settings.setdefault("strip_accents", True)
    return settings, f"{found.reason}{_lower_case_remark(given)}"


def _refuse_contradictions(given: dict, saved: dict, whose: str) -> None:
    for name, value in given.items():
        if name not in _PLACES and saved.get(name, _DEFAULTS[name]) != value:
            raise InputError(
                f"--{name} is {value!r}, but {whose} {saved.get(name, _DEFAULTS[name])!r}; leave the flag out, or name "
                "a vocabulary that stands alone"
            )


def _lower_case_remark(given: dict) -> str:
    if "do_lower_case" in given:
        return ""
    return "; do_lower_case is off, which the original scripts have on by default: --do_lower_case turns it on"


_DEFAULTS = {
    "pre_tokenizer": "mecab",
    "continuation": "eojeol",
    "tags": False,
    "decompose_compounds": False,
    "do_lower_case": False,
    "strip_accents": False,
    "user_dictionary": None,
}


def _described(tokenizer, vocab: str) -> str:
    settings = tokenizer.settings()
    names = ["pre_tokenizer", *(["continuation"] if settings["pre_tokenizer"] == "mecab" else [])]
    names += [name for name in ("tags", "decompose_compounds") if settings[name]] + ["do_lower_case", "strip_accents"]
    return f"{vocab}, {len(tokenizer.vocab):,} pieces, " + ", ".join(f"{name}={settings[name]}" for name in names)


def _warn_of_another_analyser(folder: str, saved: dict, present: dict) -> None:
    """Says which versions differ and what became of the first sentence that is cut differently."""
    found = [
        f"{name} was {saved.get(name)!r} and is {present[name]!r}"
        for name in present
        if name != "sentences" and saved.get(name) != present[name]
    ]
    pairs = list(zip(saved.get("sentences", []), present["sentences"], strict=False))
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    if changed:
        was, now = changed[0]
        found.append(
            f"{len(changed)} of {len(pairs)} fixed sentences are cut differently, the first was {was!r}, is {now!r}"
        )
    if found:
        warnings.warn(f"{folder}: made with another Mecab than this one: {'; '.join(found)}", stacklevel=4)


# --- Writing ---


def save_pretrained(tokenizer, path: str) -> None:
    """Writes `vocab.txt` and `tokenizer_config.json` into a folder, new or there already.

    What transformers' own BertTokenizer cannot do goes along as code and, where there is one, as user dictionary.
    What is left there of another tokenizer of ours goes: transformers would believe it before these. Files of these
    names that are not ours are an `InputError`; other files stay.
    """
    check_folder(path)
    with files.whole_folder(path, overwrite=True) as folder:
        with files.whole_file(f"{folder}/{VOCAB_FILE}") as file:
            file.writelines(f"{piece}\n" for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer.vocab))))
        files.write_json(f"{folder}/{CONFIG_FILE}", _config(tokenizer))
        if _needs_own_code(tokenizer):
            with files.whole_file(f"{folder}/{CODE_FILE}") as file:
                file.write(tokenizer_code())
        if tokenizer.settings()["user_dictionary"]:
            shutil.copyfile(tokenizer.settings()["user_dictionary"], f"{folder}/{USER_DICTIONARY_FILE}")
        written = os.listdir(folder)
    for name in _FILES_OF_TOKENIZERS:
        if name not in written:
            files.remove(f"{os.fspath(path)}/{name}")


def check_folder(path: str) -> None:
    """Raises `InputError` if a tokenizer may not be saved into this folder."""
    what = "a tokenizer that kobert_tf2 saved"
    names = (VOCAB_FILE, CONFIG_FILE, CODE_FILE, USER_DICTIONARY_FILE)
    outputs.check_folder(path, names, what=what, is_ours=lambda folder: outputs.is_signed(f"{folder}/{CONFIG_FILE}"))
    for name in _FILES_OF_OTHER_TOKENIZERS:
        theirs = f"{os.fspath(path)}/{name}"
        if files.exists(theirs) and not outputs.is_empty(theirs) and files.read_text(theirs).strip() != "{}":
            raise InputError(
                f"{theirs}: already there, and transformers would believe it before the tokenizer that is to be saved "
                "beside it; name another folder, or move it away"
            )


def settings_to_save(settings: dict) -> dict:
    """Without paths of this machine."""
    user_dictionary = USER_DICTIONARY_FILE if settings["user_dictionary"] else None
    return {**settings, "dictionary": None, "user_dictionary": user_dictionary}


def _needs_own_code(tokenizer) -> bool:
    """transformers has no Mecab for Korean, and takes Hangul apart with the accents."""
    return tokenizer.analyser is not None or tokenizer.settings()["strip_accents"]


def _config(tokenizer) -> dict:
    settings, own_code = tokenizer.settings(), _needs_own_code(tokenizer)
    auto_map = {"auto_map": {"AutoTokenizer": [f"{CODE_FILE.removesuffix('.py')}.{CODE_CLASS}", None]}}
    return {
        "tokenizer_class": CODE_CLASS if own_code else "BertTokenizer",
        **(auto_map if own_code else {}),
        "do_lower_case": settings["do_lower_case"],
        "strip_accents": settings["strip_accents"],
        "tokenize_chinese_chars": True,
        "pad_token": tokenizer.pad_token,
        "unk_token": tokenizer.unk_token,
        "cls_token": tokenizer.cls_token,
        "sep_token": tokenizer.sep_token,
        "mask_token": tokenizer.mask_token,
        OUR_KEY: {
            "settings": settings_to_save(settings),
            "fingerprint": tokenizer.fingerprint(),
            "analyser": tokenizer.analyser.fingerprint() if tokenizer.analyser else None,
        },
    }
