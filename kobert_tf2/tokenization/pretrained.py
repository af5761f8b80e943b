"""The files of a tokenizer: finding them by one rule for all tools, reading and writing them.

The rule. `--vocab_file` names a folder, a vocabulary or a hub id; without it, what lies beside `--init_checkpoint` is
taken. A folder that this package wrote is read with the settings that it was saved with. A SentencePiece model (a
`.model` file, with the `vocab.txt` beside it if that has its pieces) is used as it is. The folder of a Hugging Face
BertTokenizer is plain BERT as its files say (`hf_files.py`). A bare vocabulary is plain BERT, as for the original
scripts, with the tokenizer flags of the command line.

This module does not import `Tokenizer`, which imports it: the class is an argument (`from_pretrained(Tokenizer,
path)`).
"""

import glob
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from kobert_tf2 import files, hub, outputs
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import hf_files, vocab_file
from kobert_tf2.tokenization.hf_bundle import CODE_CLASS, CODE_FILE, tokenizer_code
from kobert_tf2.tokenization.hf_files import ADDED_FILE, CONFIG_FILE, SPECIAL_FILE, TOKENIZER_FILE
from kobert_tf2.tokenization.sentencepiece import SentencePieceModel

VOCAB_FILE = "vocab.txt"
MODEL_FILE = "spiece.model"
USER_DICTIONARY_FILE = "user.dic"
# The key of tokenizer_config.json for settings that transformers has no key for.
OUR_KEY = "kobert_tf2"
_FILES_OF_OTHER_TOKENIZERS = (TOKENIZER_FILE, ADDED_FILE, SPECIAL_FILE)
_FILES_OF_TOKENIZERS = (CODE_FILE, USER_DICTIONARY_FILE, MODEL_FILE, *_FILES_OF_OTHER_TOKENIZERS)
# Settings that are paths on one machine, not properties of the tokenizer.
_PLACES = ("dictionary",)


class Found(NamedTuple):
    """The files of a tokenizer that were found: the arguments of `Tokenizer`, and where they come from."""

    place: str  # the file that has the vocabulary, or the SentencePiece model
    settings: dict  # keyword arguments of `Tokenizer`
    reason: str  # where the settings are from, for a person
    vocab: dict[str, int] | None = None  # None: `place` is to be read
    is_bare: bool = False  # a vocabulary that no settings lie beside
    analyser: dict | None = None  # the fingerprint of the analyser that it was saved with
    has_tokenizer_file: bool = False  # a tokenizer.json without a vocab.txt, which is written again

    @property
    def folder(self) -> str:
        return os.path.dirname(self.place) or "."


# --- Finding ---


def find(path: str) -> Found:
    """Resolves a path or a hub id: the folder of a tokenizer, its vocabulary, or a bare vocabulary."""
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
    path = os.fspath(path)
    if not files.exists(path) and not files.exists(f"{path}.index"):
        path = path.split(",")[0]  # Of several files, or globs.
    folder = path if files.is_folder(path) else os.path.dirname(path) or "."
    is_here = files.is_folder(path) or files.exists(path) or files.exists(f"{path}.index")
    if not is_here and hub.is_id(path):
        folder = hub.fetch(path, hub.TOKENIZER_FILES)
    folder = folder.rstrip("/") or "/"
    has_one = _vocabulary_in(folder) or _model_in(folder) or files.exists(f"{folder}/{TOKENIZER_FILE}")
    return _in_folder(folder) if has_one else None


def _of_file(path: str) -> Found:
    """A vocabulary or a model file. The other files of a folder describe its `vocab.txt` and no file of another
    name.
    """
    name, folder = os.path.basename(path), os.path.dirname(path) or "."
    if name in (VOCAB_FILE, TOKENIZER_FILE, CONFIG_FILE):
        return _in_folder(folder)
    if name.endswith(".model"):
        return _of_sentencepiece(folder, path, _vocabulary_in(folder))
    return _bare(path)


def _vocabulary_in(folder: str) -> str | None:
    """`vocab.txt`, or the only file with a similar name (`vocab_char_16424.txt`); several are an `InputError`."""
    if files.exists(f"{folder}/{VOCAB_FILE}"):
        return f"{folder}/{VOCAB_FILE}"
    others = _matching(folder, "*vocab*.txt")
    if len(others) > 1:
        raise InputError(f"{folder}: expected one vocabulary, but found {', '.join(others)}; name one: --vocab_file")
    return others[0] if others else None


def _model_in(folder: str) -> str | None:
    """The SentencePiece model of a folder."""
    found = _matching(folder, "*.model")
    if len(found) > 1:
        raise InputError(f"{folder}: expected one SentencePiece model, but found {', '.join(found)}; name one of them")
    return found[0] if found else None


def files_in(folder: str) -> list[str]:
    """The paths of all files of a tokenizer in a folder."""
    patterns = dict.fromkeys((*hub.TOKENIZER_FILES, *_FILES_OF_TOKENIZERS))
    return sorted({path for pattern in patterns for path in _matching(folder, pattern)})


def missing_code(folder: str) -> str | None:
    """The Python file that `auto_map` of a folder's tokenizer_config.json names for AutoTokenizer and that is not
    there; None where there is none, or it is in another repository.
    """
    named = hf_files.read_object(f"{folder}/{CONFIG_FILE}").get("auto_map")
    classes = named.get("AutoTokenizer") if isinstance(named, dict) else named
    for path in classes if isinstance(classes, list) else [classes]:
        if isinstance(path, str) and "--" not in path and "." in path:
            file = f"{path.partition('.')[0]}.py"
            if not files.exists(f"{folder}/{file}"):
                return file
    return None


def _matching(folder: str, pattern: str) -> list[str]:
    try:
        return files.match([f"{folder if files.is_remote(folder) else glob.escape(folder)}/{pattern}"])
    except InputError:
        return []


def _in_folder(folder: str) -> Found:
    vocab, config_file = _vocabulary_in(folder), f"{folder}/{CONFIG_FILE}"
    config = hf_files.read_object(config_file)
    if OUR_KEY in config:
        return _ours(folder, config)
    model = _model_in(folder)
    if model and (vocab is None or vocab_file.is_of_sentencepiece(vocab_file.load(vocab))):
        return _of_sentencepiece(folder, model, vocab)
    described_by = next(filter(files.exists, (config_file, f"{folder}/{TOKENIZER_FILE}")), None)
    if vocab is None and not files.exists(f"{folder}/{TOKENIZER_FILE}"):
        raise InputError(f"{folder}: expected a tokenizer there, but it has no {VOCAB_FILE}")
    if vocab and described_by is None:
        return _bare(vocab)
    alone = vocab is None or described_by != config_file
    found = hf_files.read_wordpiece(folder, None if alone else vocab)
    return Found(
        place=vocab if vocab and not alone else f"{folder}/{TOKENIZER_FILE}",
        settings=found.settings,
        reason="; ".join([f"as {described_by} says", *found.notes]),
        vocab=found.vocab,
        has_tokenizer_file=alone,
    )


def _ours(folder: str, config: dict) -> Found:
    saved, place = config[OUR_KEY], f"{folder}/{VOCAB_FILE}"
    settings, vocab = _saved_settings(saved, f"{folder}/{CONFIG_FILE}"), None
    if settings.get("added_tokens"):
        vocab = hf_files.describe(folder, vocab_file.load(place), {}).vocab
    for name in ("user_dictionary", "sentencepiece_model"):
        if settings.get(name):
            settings[name] = f"{folder}/{settings[name]}"
    return Found(
        place=place,
        settings=settings,
        vocab=vocab,
        reason=f"as saved in {folder}/{CONFIG_FILE}",
        analyser=saved.get("analyser") or {},
        has_tokenizer_file=saved.get("tokenizer_json", False),
    )


def _saved_settings(ours: object, path: str) -> dict:
    """The settings that this package saved; the type of each is checked."""
    if not isinstance(ours, dict) or not isinstance(ours.get("settings"), dict):
        raise InputError(f'{path}: expected "{OUR_KEY}" to be an object with "settings", but found other JSON')
    analyser = ours.get("analyser")
    if not isinstance(analyser, dict | None) or not isinstance((analyser or {}).get("sentences", []), list):
        raise InputError(f'{path}: expected "analyser" to be null or an object, but found {files.json_name(analyser)}')
    settings = dict(ours["settings"])
    if "pre_tokenizer" not in settings:
        raise InputError(f"{path}: expected the settings of a tokenizer, but pre_tokenizer is missing")
    for name, value in settings.items():
        kind = _KINDS.get(name)
        if kind is None:
            raise InputError(f"{path}: expected settings of a tokenizer, but found {name!r:.100}")
        if not isinstance(value, kind):
            raise InputError(f"{path}: {name}: found {files.json_name(value)}, which this setting cannot be")
    for name in ("user_dictionary", "sentencepiece_model"):
        file = settings.get(name)
        if file and (file in (".", "..") or any(separator in file for separator in "/\\\0")):
            raise InputError(f"{path}: {name}: expected the name of a file in this folder, but got {file!r:.100}")
    return settings


_KINDS = {
    **dict.fromkeys(("pre_tokenizer", "continuation", "sentencepiece_model"), str),
    **dict.fromkeys(("tags", "decompose_compounds", "do_lower_case", "strip_accents"), bool),
    **dict.fromkeys(("dictionary", "user_dictionary"), str | None),
    "special_tokens": dict,
    "added_tokens": list,
}


def _of_sentencepiece(folder: str, model: str, vocab_path: str | None) -> Found:
    """A SentencePiece model, with the ids of the `vocab.txt` beside it if that has its pieces, otherwise with its
    own.
    """
    vocab = vocab_file.load(vocab_path) if vocab_path else {}
    with_file = vocab_file.is_of_sentencepiece(vocab)
    if not with_file:
        vocab = vocab_file.check(SentencePieceModel(model).pieces(), model)
    lower = bool(hf_files.read_object(f"{folder}/{CONFIG_FILE}").get("do_lower_case", False))
    settings = {"pre_tokenizer": "sentencepiece", "sentencepiece_model": model, "do_lower_case": lower}
    found = hf_files.describe(folder, vocab, settings)
    ids = f"the ids of {vocab_path}" if with_file else "its own ids"
    return Found(model, found.settings, "; ".join([f"a SentencePiece model with {ids}", *found.notes]), found.vocab)


def _bare(vocab: str) -> Found:
    """A bare vocabulary, with added tokens if a file beside it names some."""
    reason = f"no {CONFIG_FILE} describes it"
    settings = {"pre_tokenizer": "none"}
    folder = os.path.dirname(vocab) or "."
    beside = (f"{folder}/{ADDED_FILE}", f"{folder}/{SPECIAL_FILE}")
    if os.path.basename(vocab) != VOCAB_FILE or not any(map(files.exists, beside)):
        return Found(vocab, settings, reason, is_bare=True)
    found = hf_files.describe(folder, vocab_file.load(vocab), settings)
    return Found(vocab, found.settings, "; ".join([reason, *found.notes]), found.vocab, is_bare=True)


# --- Reading ---


def from_pretrained(cls: type, path: str, **settings: Any) -> Any:
    """A tokenizer of class `cls` from a folder, a vocabulary or a hub id; `settings` override those found."""
    found = find(path)
    return _make(cls, found, {**found.settings, **settings})


def _make(cls: type, found: Found, settings: dict) -> Any:
    try:
        tokenizer = cls(found.vocab or found.place, **settings)
    except InputError as error:
        said = str(error)
        if found.place in said or found.folder in said:
            raise
        raise InputError(f"{found.place}: {said.removeprefix('vocabulary: ')}") from None
    tokenizer.has_tokenizer_file = found.has_tokenizer_file
    if not found.is_bare:
        defaults = hf_files.call_defaults(f"{found.folder}/{CONFIG_FILE}")
        tokenizer.model_max_length, tokenizer.clean_up_tokenization_spaces = defaults
    if found.analyser is not None and tokenizer.analyser:
        _warn_of_another_analyser(found.folder, found.analyser, tokenizer.analyser.fingerprint())
    if settings["pre_tokenizer"] != "sentencepiece":
        for doubt in vocab_file.doubts(tokenizer.vocab):
            warnings.warn(f"{found.place}: {doubt}", stacklevel=4)
    return tokenizer


def from_flags(
    cls: type,
    vocab_file: str | None,
    init_checkpoint: str | None = None,
    given: dict | None = None,
    *,
    beside: Sequence[str | None] = (),
    made_with: dict | None = None,
    required: bool = True,
) -> Any:
    """The tokenizer of a command line; one line on standard error says which one it is and why.

    Args:
        cls: `Tokenizer`.
        given: the tokenizer flags set on the command line; one that contradicts the folder is an `InputError`.
        beside: further paths whose folders are searched, after `init_checkpoint`.
        made_with: the settings of a bare vocabulary, as recorded with the pre-training data that it belongs to.
        required: if false, None is returned where there is no tokenizer.
    """
    if vocab_file:
        found: Found | None = find(vocab_file)
    else:
        found = next(filter(None, map(find_beside, filter(None, (init_checkpoint, *beside)))), None)
    if found is None:
        if not required:
            return None
        if init_checkpoint:
            if not files.exists(init_checkpoint) and not files.exists(f"{init_checkpoint}.index"):
                raise InputError(f"{init_checkpoint}: expected a model or a checkpoint, but nothing has that name")
            raise InputError(f"{init_checkpoint}: expected {VOCAB_FILE} beside it, or --vocab_file, but found neither")
        raise InputError("expected --vocab_file, or --init_checkpoint with a vocabulary beside it, but got neither")
    settings, reason = _settings_to_use(found, given or {}, made_with)
    tokenizer = _make(cls, found, settings)
    print(f"tokenizer: {_described(tokenizer, found.place)}: {reason}", file=sys.stderr)
    return tokenizer


def _settings_to_use(found: Found, given: dict, made_with: dict | None) -> tuple[dict, str]:
    """(the settings, the reason for them)"""
    if not found.is_bare:
        config = f"{found.folder}/{CONFIG_FILE}"
        described_by = config if files.exists(config) else found.place
        _refuse_contradictions(given, found.settings, f"{described_by} says")
        return {**found.settings, **given}, found.reason
    if made_with:
        _refuse_contradictions(given, made_with, "the records were made with")
        return {**made_with, **given}, "as the records were made"
    settings = {**found.settings, **given}
    # As in the original: lower-casing also strips accents, unless the command line says otherwise.
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


def _described(tokenizer: Any, place: str) -> str:
    settings = tokenizer.settings()
    names = ["pre_tokenizer", *(["continuation"] if settings["pre_tokenizer"] == "mecab" else [])]
    names += [name for name in ("tags", "decompose_compounds") if settings[name]] + ["do_lower_case", "strip_accents"]
    added = f", {len(tokenizer.added_tokens)} added tokens" if tokenizer.added_tokens else ""
    chosen = ", ".join(f"{name}={settings[name]}" for name in names)
    return f"{place}, {len(tokenizer.vocab):,} pieces, {chosen}{added}"


def _warn_of_another_analyser(folder: str, saved: dict, present: dict) -> None:
    """Warns which versions differ, and shows the first sentence that is segmented differently."""
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


def save_pretrained(tokenizer: Any, path: str) -> None:
    """Writes `vocab.txt` and `tokenizer_config.json` into a folder, new or there already.

    If transformers' own BertTokenizer is not equivalent, code is saved too, and the user dictionary if there is one.
    Files of an earlier tokenizer of ours are removed, because transformers would prefer them. Files of these names that
    are not ours are an `InputError`; other files stay.
    """
    check_folder(path)
    with files.whole_folder(path, overwrite=True) as folder:
        with files.whole_file(f"{folder}/{VOCAB_FILE}") as file:
            file.writelines(f"{piece}\n" for piece in _lines(tokenizer))
        files.write_json(f"{folder}/{CONFIG_FILE}", _config(tokenizer))
        _write_what_goes_along(tokenizer, folder)
        written = os.listdir(folder)
    for name in _FILES_OF_TOKENIZERS:
        if name not in written:
            files.remove(f"{os.fspath(path)}/{name}")


def _lines(tokenizer: Any) -> list[str]:
    """The pieces in order, without added tokens at the end, which are in tokenizer_config.json: transformers would
    otherwise split words into them.
    """
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer.vocab)))
    apart = {token.content for token in tokenizer.added_tokens if not token.is_piece}
    while pieces[-1] in apart:
        pieces.pop()
    return pieces


def _write_what_goes_along(tokenizer: Any, folder: str) -> None:
    settings = tokenizer.settings()
    if needs_own_code(tokenizer):
        with files.whole_file(f"{folder}/{CODE_FILE}") as file:
            file.write(tokenizer_code(sentencepiece=settings["pre_tokenizer"] == "sentencepiece"))
    elif tokenizer.has_tokenizer_file:
        with files.whole_file(f"{folder}/{TOKENIZER_FILE}") as file:
            file.write(hf_files.tokenizer_file(tokenizer, tokenizer.added_tokens))
    for setting, name in (("user_dictionary", USER_DICTIONARY_FILE), ("sentencepiece_model", MODEL_FILE)):
        if settings.get(setting):
            shutil.copyfile(settings[setting], f"{folder}/{name}")


def check_folder(path: str) -> None:
    """Raises `InputError` if a tokenizer may not be saved into this folder."""
    what = "a tokenizer that kobert_tf2 saved"
    names = (VOCAB_FILE, CONFIG_FILE, CODE_FILE, USER_DICTIONARY_FILE, MODEL_FILE)
    outputs.check_folder(path, names, what=what, is_ours=lambda folder: outputs.is_signed(f"{folder}/{CONFIG_FILE}"))
    for name in _FILES_OF_OTHER_TOKENIZERS:
        theirs = f"{os.fspath(path)}/{name}"
        if name == TOKENIZER_FILE and _wrote_tokenizer_file(os.fspath(path)):
            continue
        if files.exists(theirs) and not outputs.is_empty(theirs) and files.read_text(theirs).strip() != "{}":
            raise InputError(
                f"{theirs}: already there, and transformers would believe it before the tokenizer that is to be saved "
                "beside it; name another folder, or move it away"
            )


def settings_to_save(settings: dict) -> dict:
    """The settings without paths of this machine."""
    user_dictionary = USER_DICTIONARY_FILE if settings["user_dictionary"] else None
    model = {"sentencepiece_model": MODEL_FILE} if settings.get("sentencepiece_model") else {}
    return {**settings, "dictionary": None, "user_dictionary": user_dictionary, **model}


def needs_own_code(tokenizer: Any) -> bool:
    """Whether transformers' BertTokenizer differs: it has no Mecab for Korean, decomposes Hangul when it strips
    accents, and splits "1," unlike SentencePiece.
    """
    return tokenizer.settings()["pre_tokenizer"] != "none" or tokenizer.settings()["strip_accents"]


def _config(tokenizer: Any) -> dict:
    settings, own_code = tokenizer.settings(), needs_own_code(tokenizer)
    auto_map = {"auto_map": {"AutoTokenizer": [f"{CODE_FILE.removesuffix('.py')}.{CODE_CLASS}", None]}}
    added = hf_files.added_tokens_decoder(tokenizer.vocab, tokenizer.added_tokens)
    return {
        "tokenizer_class": CODE_CLASS if own_code else "BertTokenizer",
        **(auto_map if own_code else {}),
        "do_lower_case": settings["do_lower_case"],
        "strip_accents": settings["strip_accents"],
        "tokenize_chinese_chars": True,
        **{name: getattr(tokenizer, name) for name in hf_files.SPECIAL_NAMES},
        **({"added_tokens_decoder": added} if added else {}),
        **({"model_max_length": tokenizer.model_max_length} if tokenizer.model_max_length else {}),
        **({"clean_up_tokenization_spaces": True} if tokenizer.clean_up_tokenization_spaces else {}),
        OUR_KEY: {
            "settings": settings_to_save(settings),
            "fingerprint": tokenizer.fingerprint(),
            "analyser": tokenizer.analyser.fingerprint() if tokenizer.analyser else None,
            **({"tokenizer_json": True} if tokenizer.has_tokenizer_file else {}),
        },
    }


def _wrote_tokenizer_file(folder: str) -> bool:
    """Whether this package wrote the `tokenizer.json` of a folder."""
    ours = hf_files.read_object(f"{folder}/{CONFIG_FILE}").get(OUR_KEY)
    return isinstance(ours, dict) and bool(ours.get("tokenizer_json"))
