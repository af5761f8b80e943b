"""Reads the files of a Hugging Face tokenizer: vocabulary, normalisation, special tokens and added tokens.

    tokenizer_config.json     the class, its switches, the special tokens, and `added_tokens_decoder`
    special_tokens_map.json   special tokens, of a folder that has no `added_tokens_decoder`
    added_tokens.json         {token: id}, of such a folder
    tokenizer.json            all of it in one file, read through the `tokenizers` library

The files have the same precedence as in `transformers`. A setting that changes the ids and is not supported here is an
`InputError` that names the file and the key; nothing is ignored silently.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import vocab_file
from kobert_tf2.tokenization.added_tokens import AddedToken, added_token
from kobert_tf2.tokenization.wordpiece import MAX_WORD_LENGTH

CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILE = "tokenizer.json"
ADDED_FILE = "added_tokens.json"
SPECIAL_FILE = "special_tokens_map.json"
ADDED_FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
SPECIAL_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")

_CLASSES_OF_WORDPIECE = ("BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer", "ConvBertTokenizer")
# Classes whose behaviour is defined by tokenizer.json alone.
_GENERIC_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")


class Described(NamedTuple):
    """The contents of the files as arguments of `Tokenizer`."""

    vocab: dict[str, int]
    settings: dict
    notes: tuple[str, ...] = ()  # what was passed over, each in a sentence


def read_wordpiece(folder: str, vocab_path: str | None) -> Described:
    """Reads the folder of a WordPiece tokenizer. Without `vocab_path` (a `vocab.txt`) the vocabulary is that of
    `tokenizer.json`.
    """
    config = read_object(f"{folder}/{CONFIG_FILE}")
    _check_class(f"{folder}/{CONFIG_FILE}", config)
    generic = _class_of(config) in _GENERIC_CLASSES and files.exists(f"{folder}/{TOKENIZER_FILE}")
    if vocab_path is None or generic:
        vocab, switches, added = _read_tokenizer_file(f"{folder}/{TOKENIZER_FILE}")
        _check_agreement(folder, config, switches)
    else:
        # By default, a BertTokenizer lower-cases and then also strips accents.
        lower = bool(config.get("do_lower_case", True))
        accents = config.get("strip_accents")
        switches = {"do_lower_case": lower, "strip_accents": lower if accents is None else bool(accents)}
        vocab, added = vocab_file.load(vocab_path), {}
    return _described(folder, config, vocab, {"pre_tokenizer": "none", **switches}, added)


def describe(folder: str, vocab: dict[str, int], settings: dict) -> Described:
    """A vocabulary with the special and added tokens of the files in `folder`."""
    return _described(folder, read_object(f"{folder}/{CONFIG_FILE}"), vocab, settings, {})


def read_object(path: str) -> dict:
    """A JSON object; {} where there is no such file."""
    return files.read_json(path, dict) if files.exists(path) else {}


# What transformers writes where a tokenizer has no longest row.
_NO_LENGTH = 10**20


def call_defaults(config_file: str) -> tuple[int | None, bool]:
    """`model_max_length` and `clean_up_tokenization_spaces` of a tokenizer_config.json; None, False without them."""
    config = read_object(config_file)
    length = config.get("model_max_length")
    if length is not None:
        if isinstance(length, bool) or not isinstance(length, int | float) or not length >= 1:
            raise InputError(f"{config_file}: model_max_length: expected a whole number, but found {length!r:.50}")
        length = int(length) if length < _NO_LENGTH else None
    return length, bool(config.get("clean_up_tokenization_spaces"))


# --- The class and its switches ---


def _class_of(config: dict) -> str:
    return str(config.get("tokenizer_class") or "BertTokenizer").removesuffix("Fast")


def _check_class(path: str, config: dict) -> None:
    name = _class_of(config)
    if name not in (*_CLASSES_OF_WORDPIECE, *_GENERIC_CLASSES):
        raise InputError(
            f"{path}: tokenizer_class {config['tokenizer_class']!r:.100} cannot be mirrored; expected a BertTokenizer, "
            "or a SentencePiece model (a .model file) in the folder"
        )
    expected = {
        "tokenize_chinese_chars": True,
        "do_basic_tokenize": True,
        "wordpieces_prefix": "##",
        "never_split": None,
    }
    for key, value in expected.items():
        if config.get(key, value) != value and not (key == "never_split" and config[key] == []):
            raise InputError(f"{path}: {key}={config[key]!r:.100} cannot be mirrored; expected {value!r}")


def _check_agreement(folder: str, config: dict, switches: dict) -> None:
    for key in ("do_lower_case", "strip_accents"):
        if config.get(key) is not None and bool(config[key]) != switches[key]:
            raise InputError(
                f"{folder}: {CONFIG_FILE} says {key}={config[key]}, but the normalizer of {TOKENIZER_FILE} means "
                f"{switches[key]}; mend one of them"
            )


# --- tokenizer.json ---


def _read_tokenizer_file(path: str) -> tuple[dict[str, int], dict, dict[int, AddedToken]]:
    """(vocabulary, switches, added tokens by their ids)"""
    tokenizers = _library()
    text = files.read_text(path)
    _check_ids(path, files.parse_json(text, path, dict))
    try:
        parsed = tokenizers.Tokenizer.from_str(text)
    except Exception as error:
        raise InputError(f"{path}: the tokenizers library cannot read it ({str(error).splitlines()[0]:.300})") from None
    parts = json.loads(parsed.to_str())
    _check_model(path, parts["model"])
    _check_steps(path, parts)
    added = {
        i: AddedToken(**{name: getattr(token, name) for name in ADDED_FIELDS})
        for i, token in parsed.get_added_tokens_decoder().items()
    }
    return parsed.get_vocab(with_added_tokens=False), _switches_in(path, parts["normalizer"]), added


def _check_ids(path: str, parts: dict) -> None:
    """The library lists every number up to the highest id, be it 2 ** 32."""
    model = parts.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    added = parts.get("added_tokens")
    if not isinstance(vocab, dict):
        return  # The library says what it misses.
    most = len(vocab) + (len(added) if isinstance(added, list) else 0)
    wrong = next((piece for piece, i in vocab.items() if type(i) is not int or not 0 <= i < most), None)
    if wrong is not None:
        raise InputError(f"{path}: vocab: expected ids below {most:,}, but {wrong!r:.80} has {vocab[wrong]!r:.40}")


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(f"reading a {TOKENIZER_FILE} needs tokenizers: pip install tokenizers") from None
    return tokenizers


def _check_model(path: str, model: dict) -> None:
    if model.get("type", "WordPiece") != "WordPiece":
        raise InputError(
            f"{path}: model {model['type']!r:.100} cannot be mirrored; expected WordPiece, or the SentencePiece "
            "model (a .model file) beside it"
        )
    for key, expected in (("continuing_subword_prefix", "##"), ("max_input_chars_per_word", MAX_WORD_LENGTH)):
        if model.get(key, expected) != expected:
            raise InputError(f"{path}: {key}={model[key]!r:.100} cannot be mirrored; expected {expected!r}")


def _check_steps(path: str, parts: dict) -> None:
    found = (parts["pre_tokenizer"] or {}).get("type")
    if found != "BertPreTokenizer":
        raise InputError(f"{path}: pre_tokenizer {found!r:.100} cannot be mirrored; expected BertPreTokenizer")
    after = parts["post_processor"] or {"type": "BertProcessing"}
    sequence = [next(iter(step)) for step in after.get("single", [])]
    if after["type"] != "BertProcessing" and sequence != ["SpecialToken", "Sequence", "SpecialToken"]:
        raise InputError(
            f"{path}: post_processor {after['type']!r:.100} cannot be mirrored; expected one that writes [CLS] A [SEP]"
        )


def _switches_in(path: str, normalizer: dict | None) -> dict:
    steps = (normalizer or {}).get("normalizers") or [normalizer or {"type": None}]
    # Text is always normalised to NFC here.
    of_bert = [step for step in steps if step["type"] != "NFC"]
    if len(of_bert) != 1 or of_bert[0]["type"] != "BertNormalizer":
        names = ", ".join(str(step["type"])[:40] for step in steps[:9])
        raise InputError(f"{path}: normalizer {names} cannot be mirrored; expected BertNormalizer")
    (step,) = of_bert
    for key in ("clean_text", "handle_chinese_chars"):
        if not step[key]:
            raise InputError(f"{path}: {key}={step[key]} of the normalizer cannot be mirrored; expected True")
    lower, accents = step["lowercase"], step["strip_accents"]
    return {"do_lower_case": lower, "strip_accents": lower if accents is None else accents}


# --- Special and added tokens ---


def _described(folder: str, config: dict, vocab: dict[str, int], settings: dict, added: dict) -> Described:
    if "added_tokens_decoder" in config:
        added = {**added, **_added_in_config(f"{folder}/{CONFIG_FILE}", config["added_tokens_decoder"])}
    else:
        config = {**config, **read_object(f"{folder}/{SPECIAL_FILE}")}
        added = {**added, **_added_alone(folder, config, vocab)}
    special = _special_tokens(folder, config)
    pieces, vocab = vocab, _with_ids(folder, vocab, added)
    extra = [token for token in _extra_tokens(folder, config) if token not in added.values()]
    notes = [f"{token.content} has no id and is passed over" for token in extra if token.content not in vocab]
    extra = [token for token in extra if token.content in vocab]
    missing = {name: token for name, token in special.items() if token not in vocab}
    if missing:
        name, token = next(iter(missing.items()))
        raise InputError(f"{folder}: {name} is {token!r:.100}, but its vocabulary has no such piece")
    by_content = {token.content: token for token in (*extra, *added.values())}
    apart = [
        token._replace(is_piece=content in pieces)._asdict()
        for content, token in by_content.items()
        if content not in special.values()
    ]
    return Described(vocab, {**settings, "special_tokens": special, "added_tokens": apart}, tuple(notes))


def _special_tokens(folder: str, config: dict) -> dict[str, str]:
    """Those of the five special tokens that the files name."""
    found = {}
    for name in SPECIAL_NAMES:
        value = config.get(name)
        content = value.get("content") if isinstance(value, dict) else value
        if content is not None and not isinstance(content, str):
            raise InputError(f"{folder}: {name}: expected a string, but found {content!r:.100}")
        if content:
            found[name] = content
    return found


def _added_in_config(path: str, decoder: dict) -> dict[int, AddedToken]:
    try:
        return {
            int(i): added_token({name: token[name] for name in ADDED_FIELDS if name in token})
            for i, token in decoder.items()
        }
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"{path}: added_tokens_decoder: expected an object of ids, each with a token's content and switches"
        ) from None


def _added_alone(folder: str, config: dict, vocab: dict[str, int]) -> dict[int, AddedToken]:
    """The added tokens of `added_tokens.json`, and of a `tokenizer.json` beside a vocabulary."""
    named = {*_special_tokens(folder, config).values(), *(token.content for token in _extra_tokens(folder, config))}
    added = {}
    for content, i in read_object(f"{folder}/{ADDED_FILE}").items():
        if isinstance(i, bool) or not isinstance(i, int):
            raise InputError(f"{folder}/{ADDED_FILE}: expected an id for {content!r:.100}, but found {i!r:.100}")
        added[i] = AddedToken(content, normalized=content not in named, special=content in named)
    for token in read_object(f"{folder}/{TOKENIZER_FILE}").get("added_tokens") or []:
        added[int(token["id"])] = AddedToken(**{name: token[name] for name in ADDED_FIELDS})
    return added


def _with_ids(folder: str, vocab: dict[str, int], added: dict[int, AddedToken]) -> dict[str, int]:
    vocab, pieces = dict(vocab), {i: piece for piece, i in vocab.items()}
    for i, token in sorted(added.items()):
        if pieces.get(i, token.content) != token.content:
            raise InputError(
                f"{folder}: the added token {token.content!r:.100} has id {i}, but the vocabulary has "
                f"{pieces[i]!r:.100} there"
            )
        if vocab.get(token.content, i) != i:
            raise InputError(
                f"{folder}: the added token {token.content!r:.100} has id {i}, but {vocab[token.content]} in the "
                "vocabulary"
            )
        vocab[token.content] = i
    missing = next((i for i, j in enumerate(sorted(vocab.values())) if i != j), None)
    if missing is not None:
        raise InputError(f"{folder}: no piece and no added token has id {missing}, but there are higher ones")
    return vocab


def _extra_tokens(folder: str, config: dict) -> list[AddedToken]:
    """Further special tokens, under the names of transformers 4 and 5."""
    found: list[AddedToken] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        values = config.get(key) or []
        if not isinstance(values, dict | list):
            raise InputError(f"{folder}/{CONFIG_FILE}: {key}: expected a list, but found {files.json_name(values)}")
        for value in values.values() if isinstance(values, dict) else values:
            content = value.get("content") if isinstance(value, dict) else value
            if not isinstance(content, str):
                raise InputError(f"{folder}/{CONFIG_FILE}: {key}: expected tokens, but found {value!r:.100}")
            found.append(AddedToken(content, normalized=False, special=True))
    return found


# --- Writing ---


def added_tokens_decoder(vocab: dict[str, int], tokens: Iterable[AddedToken]) -> dict:
    """`added_tokens_decoder` of tokenizer_config.json."""
    return {str(vocab[token.content]): {"content": token.content, **token.switches()} for token in tokens}


def tokenizer_file(tokenizer: Any, tokens: Sequence[AddedToken]) -> str:
    """The contents of a `tokenizer.json` that is equivalent to one of our plain tokenizers."""
    library, settings = _library(), tokenizer.settings()
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    apart = {token.content for token in tokens if not token.is_piece}
    pieces = {piece: i for piece, i in tokenizer.vocab.items() if piece not in apart}
    made = library.Tokenizer(models.WordPiece(pieces, unk_token=tokenizer.unk_token))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=settings["strip_accents"],
        lowercase=settings["do_lower_case"],
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    cls, sep = tokenizer.cls_token, tokenizer.sep_token
    made.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(cls, tokenizer.cls_id), (sep, tokenizer.sep_id)],
    )
    of_bert = (tokenizer.pad_token, tokenizer.unk_token, cls, sep, tokenizer.mask_token)
    made.add_special_tokens([library.AddedToken(token, special=True, normalized=False) for token in of_bert])
    for token in sorted(tokens, key=lambda token: tokenizer.vocab[token.content]):
        add = made.add_special_tokens if token.special else made.add_tokens
        add([library.AddedToken(token.content, **token.switches())])
    return made.to_str(pretty=True)
