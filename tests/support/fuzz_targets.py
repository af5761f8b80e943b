"""The fuzzer's targets: for each kind of file, a folder of valid files and the function that reads it.

A reader is given the folder after one of its files has been damaged. It may return anything, or raise `InputError`.
"""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Folder = pathlib.Path


class Target(NamedTuple):
    """`make` fills a folder; one of its `files` is damaged at a time; `read` reads the folder."""

    make: Callable[[Folder], Any]
    files: tuple[str, ...]
    read: Callable[[Folder], Any]
    needs: str = ""  # a package required to read it


def _write(folder: Folder, **contents: str | bytes) -> None:
    """Writes files by name, with __ for the dot."""
    for name, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".")).write_bytes(data)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------ questions

CONTEXT = "해미는 나루터에서 배를 탔다. 강바람이 불었다."
_ANSWER = {"text": "나루터", "answer_start": 4}
_QUESTIONS = [
    {"id": "q1", "question": "어디에서?", "answers": [_ANSWER, {"text": "배", "answer_start": 10}]},
    {"id": "q2", "question": "누가?", "answers": [], "is_impossible": True, "plausible_answers": [_ANSWER]},
]
SQUAD = {
    "version": "KorQuAD_v1.0",
    "data": [{"title": "해미", "paragraphs": [{"context": CONTEXT, "qas": _QUESTIONS}]}],
}
ROWS = [
    {"id": f"r{i}", "context": CONTEXT, "question": "어디?", "answers": {"text": ["나루터"], "answer_start": [4]}}
    for i in range(2)
]
_NBEST = {
    "q1": [
        {"text": "나루터에서", "stripped": "나루터", "start": 4, "end": 9, "probability": 0.75, "start_logit": 1.5},
        {"text": "배", "start": 10, "end": 11, "probability": 0.25},
    ],
    "q2": [{"text": "", "probability": 1.0}],
}


def _make_questions(folder: Folder) -> None:
    rows = "".join(_json(row) + "\n" for row in ROWS)
    _write(folder, data__json=_json(SQUAD), rows__jsonl=rows, p__json='{"q1": "나루터에서", "q2": ""}')
    _write(folder, o__json='{"q1": -1.5, "q2": 3}', n__json=_json(_NBEST))


def _read_questions(folder: Folder) -> None:
    from kobert_tf2.reading import squad_files

    squad_files.read_squad_and_repairs(str(folder / "data.json"))
    squad_files.read_squad_and_repairs(str(folder / "rows.jsonl"))


def _read_answers(folder: Folder) -> None:
    from kobert_tf2.reading import evaluation, report, squad_files

    questions = squad_files.read_squad(str(folder / "data.json"))
    predictions = evaluation.read_predictions(str(folder / "p.json"), questions)
    evaluation.read_null_odds(str(folder / "o.json"), questions)
    nbest = evaluation.read_nbest(str(folder / "n.json"), questions)
    report.rows(questions, predictions, report.predicted_spans(questions, predictions, nbest), "squad2")


# ------------------------------------------------------------------------------------------------------ labelled text

_KLUE = "## s1\t해미<PS>가 서울<LC>에\n해\tB-PS\n미\tI-PS\n가\tO\n \tO\n서\tB-LC\n울\tI-LC\n에\tO\n\n"
_CONLL = "1\t해미가\tB-PS\n2\t서울에\tB-LC\n3\t갔다\tO\n\n1\t누리는\tB-PS\n2\t왔다\tO\n"
_MARKED = "<해미:PS>가 <서울:LC>에 갔다\n누리는 왔다\n"
_GOLD = (
    "## s1\t해미는 나루터에서 배를 탔다.\n1\t해미는\t해미 는\tNNP+JX\t4\tNP_SBJ\n"
    "2\t나루터에서\t나루터 에서\tNNG+JKB\t4\tNP\n\n"
)


def _make_labelled(folder: Folder) -> None:
    tsv = "id\tdocument\tlabel\n1\t배를 탔다\t1\n2\t\t0\n3\t강바람\t1\n"
    pairs = "id\tdocument\tdocument2\tlabel\na-1\t배\t강\t3.5\na-2\t해미\t누리\t0\n"
    _write(folder, a__tsv=tsv, b__tsv=pairs, klue__tsv=_KLUE, conll__txt=_CONLL)
    _write(folder, marked__txt=_MARKED, gold__tsv=_GOLD, corpus__txt="해미는 배를 탔다.\n강.\n\n\n둘째 글.\n")


def _read_sentences(folder: Folder) -> None:
    from kobert_tf2.labelling import sentences

    for name in ("a.tsv", "b.tsv"):
        sentences.read_tsv(str(folder / name))
        sentences.read_tsv(str(folder / name), labelled=False)


def _read_entities(folder: Folder) -> None:
    from kobert_tf2.labelling import entity_files
    from kobert_tf2.reading import josa_gold

    for name in ("klue.tsv", "conll.txt", "marked.txt"):
        found = entity_files.read(str(folder / name))
        for text in found.texts:
            entity_files.character_tags(text.text, text.entities)
    josa_gold.read_gold_words(str(folder / "gold.tsv"))


def _read_corpus(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import corpus

    for block in corpus.blocks(str(folder / "corpus.txt"), 20):
        corpus.read_documents(block)


# ------------------------------------------------------------------------------------------------------ tokenizers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, *"해미 ##는 나루터 ##에서 배 ##를 탔 ##다 . 강 바람 a ##b".split()]
TEXT = "해미는 나루터에서 [EMO] 배를 탔다. ab\u200b [MASK]"
_SWITCHES = {"lstrip": True, "rstrip": False, "normalized": False, "single_word": False, "special": False}
_ADDED = {"0": {"content": "[PAD]", **_SWITCHES, "special": True}, "18": {"content": "[EMO]", **_SWITCHES}}


def _make_ours(folder: Folder) -> None:
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    Tokenizer([*PIECES, "[EMO]"], continuation="morpheme", added_tokens=["[EMO]"]).save_pretrained(folder)


def _make_hugging_face(folder: Folder) -> None:
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False, "unk_token": "[UNK]"}
    config |= {"added_tokens_decoder": _ADDED, "model_max_length": 512, "mask_token": {"content": "[MASK]"}}
    config |= {"additional_special_tokens": ["[EMO]"], "padding_side": "right"}
    _write(folder, vocab__txt="\n".join(PIECES) + "\n", tokenizer_config__json=_json(config))
    _write(folder, added_tokens__json='{"[EMO]": 18}')
    _write(folder, special_tokens_map__json=_json({"unk_token": "[UNK]", "sep_token": {"content": "[SEP]"}}))


def _make_tokenizer_json(folder: Folder) -> None:
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    made = tokenizers.Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(["[EMO]"])
    made.save(str(folder / "tokenizer.json"))


def _make_sentencepiece(folder: Folder) -> None:
    from sentencepiece_models import kobert_folder

    kobert_folder(folder, name="tokenizer.model", vocab_size=80, lines=tuple(["해미는 나루터에서 배를 탔다."] * 30))
    _write(folder, tokenizer_config__json='{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')


def _read_tokenizer(folder: Folder) -> None:
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(folder)
    tokenizer.encode(TEXT)
    tokenizer.encode_ids_batch([TEXT, ""])


def _read_vocabulary(folder: Folder) -> None:
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    Tokenizer.from_pretrained(folder / "vocab.txt", pre_tokenizer="none").encode(TEXT)


def _make_words(folder: Folder) -> None:
    _write(folder, words__csv="나루터\n강바람,NNG\n# 뜻\n사과나무,NNG,100,사과/NNG/*+나무/NNG/*\nGaonBERT\n")


def _read_words(folder: Folder) -> None:
    from kobert_tf2.tokenization import mecab, user_dictionary

    user_dictionary._rows(str(folder / "words.csv"), mecab.find_dictionary(None)[0], user_dictionary.Normalizer())


# ------------------------------------------------------------------------------------------------------ records


def _side_car() -> dict:
    from kobert_tf2.pretraining_data import local_runner

    return {
        "format": local_runner.FORMAT, "complete": True, "max_seq_length": 6, "max_predictions_per_seq": 2,
        "vocab_size": 18, "vocab_sha256": "ab", "counts": {"instances": 5},
        "made_with": {"output_file": ["r"], "tokenizer": {"pre_tokenizer": "none"}},
        "shards": [{"name": "r", "instances": 5, "bytes": 3, "sha256": "ab"}],
    }  # fmt: skip


def _records() -> dict[str, np.ndarray]:
    from kobert_tf2.pretraining_data import tfrecord

    features = tfrecord.pretraining_features(max_seq_length=6, max_predictions_per_seq=2)
    return {
        name: np.ones((5, feature.length), feature.dtype if name != "masked_lm_weights" else np.float32)
        for name, feature in features.items()
    }


def _make_records(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import stages, tfrecord

    tfrecord.write(str(folder / "r"), _records())
    tfrecord.write(str(folder / "z"), _records(), compression="GZIP")
    (folder / "r.json").write_text(_json(_side_car() | {"shards": []}))
    (folder / "s.json").write_text(_json(_side_car() | {"shards": []}))
    stages.save_arrays(str(folder / "tokens"), {"tokens": 3}, {"ids": np.arange(3, dtype=np.int32)})
    stages.save_records(str(folder / "column"), {"instances": 3}, [b"abc", b"de", b""], 2)


def _read_records(folder: Folder) -> None:
    """Reads the frames with the text half, then the records as training does."""
    from kobert_tf2.pretraining_data import record_check, tfrecord

    features = tfrecord.pretraining_features(max_seq_length=6, max_predictions_per_seq=2)
    for name in ("r", "z"):
        tfrecord.check(str(folder / name), features, limits=record_check.Limits(18))


def _reframed(folder: Folder) -> None:
    """A record with a valid frame around a damaged example."""
    from kobert_tf2.pretraining_data import tfrecord

    (folder / "framed").write_bytes(b"".join(tfrecord.framed([(folder / "example").read_bytes()] * 2)))


def _make_example(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import tfrecord

    (folder / "example").write_bytes(tfrecord.serialize(_records())[0])


def _read_example(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import record_check, tfrecord

    _reframed(folder)
    features = tfrecord.pretraining_features(max_seq_length=6, max_predictions_per_seq=2)
    tfrecord.check(str(folder / "framed"), features, limits=record_check.Limits(18))


def _read_side_cars(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import local_runner, tfrecord

    tfrecord.read_sidecar([str(folder / "r")])
    tfrecord.check_sizes([str(folder / "r")])
    local_runner.read_own_side_car(str(folder / "s.json"))


def _read_work_files(folder: Folder) -> None:
    from kobert_tf2.pretraining_data import stages

    stages.load_arrays(str(folder / "tokens"))
    stages.load_arrays(str(folder / "column"))
    stages.read_column(str(folder / "column"), 1)


# ------------------------------------------------------------------------------------------------------ models


@functools.cache
def _model() -> Any:
    from small_models import config

    from kobert_tf2.bert import models

    return models.BertForSequenceClassification(
        config(num_hidden_layers=1, hidden_size=8, intermediate_size=8, num_attention_heads=2), labels=("가", "나")
    )


def _arrays() -> dict[str, np.ndarray]:
    from kobert_tf2.bert import pretrained, weight_names

    rows = pretrained.variables(_model())
    return {row.hf: weight_names.transpose(v.numpy(), row, source="keras", target="hf") for row, v in rows.items()}


def _make_model(folder: Folder) -> None:
    _model().save_pretrained(folder)


def _make_shards(folder: Folder) -> None:
    _model().save_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {"total_size": 10}, "weight_map": dict.fromkeys(_arrays(), "model-1.safetensors")}
    (folder / "model.safetensors.index.json").write_text(_json(index))


def _make_tf1(folder: Folder) -> None:
    from small_models import save_tf1

    save_tf1(_model(), folder)
    _write(folder, checkpoint='model_checkpoint_path: "bert_model.ckpt"\n')


def _make_pickle(folder: Folder) -> None:
    import torch

    _model().save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.tensor(value) for name, value in _arrays().items()}, folder / "pytorch_model.bin")


def _read_weights(folder: Folder, *, allow_pickle: bool = False) -> None:
    """The steps of loading that come before Keras: reads the names, shapes and values of the weights."""
    from kobert_tf2.bert import checkpoint_files, heads, matching
    from kobert_tf2.bert.config import BertConfig

    source = checkpoint_files.find_source(str(folder), allow_pickle=allow_pickle)
    config = BertConfig.from_source(source)
    described = heads.describe(source)
    with checkpoint_files.open_source(source, allow_pickle=allow_pickle) as checkpoint:
        contents = matching.scan(checkpoint, config)
        described.labels(contents.num_labels or 2)
        for row in contents.found:
            np.asarray(contents.read(row))


def _read_pickle(folder: Folder) -> None:
    _read_weights(folder, allow_pickle=True)


def _read_config(folder: Folder) -> None:
    from kobert_tf2.bert.config import BertConfig
    from kobert_tf2.reading.settings import ReadingSettings

    BertConfig.from_json(str(folder / "config.json"))
    BertConfig.from_google_json(str(folder / "bert_config.json"))
    ReadingSettings.kept_in(str(folder / "config.json"))


def _make_configs(folder: Folder) -> None:
    from kobert_tf2.reading.settings import ReadingSettings

    _model().save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    kept = ReadingSettings(max_seq_length=20, doc_stride=4, max_query_length=8, max_answer_length=5)
    values["task_specific_params"] = kept.to_config()
    _write(folder, config__json=_json(values), bert_config__json=_json(_model().config.to_google_dict()))


def _read_model(folder: Folder) -> None:
    from kobert_tf2.bert import models

    models.BertForSequenceClassification.from_pretrained(folder)


def _inspect(folder: Folder) -> None:
    from kobert_tf2.conversion import inspection

    inspection.inspect(str(folder))


# ------------------------------------------------------------------------------------------------------ runs, flags


def _make_run(folder: Folder) -> None:
    (folder / "step-00000003").mkdir(exist_ok=True)
    (folder / "step-00000003/state.index").write_bytes(b"abc")
    from kobert_tf2 import files

    sums = {"state.index": files.sha256(str(folder / "step-00000003/state.index"))}
    extra = {"settings": {"a": 1}, "window": {"loss": [1.0, 2.0]}, "metrics": {}}
    manifest = {"version": 1, "step": 3, "extra": extra, "sha256": sums}
    (folder / "step-00000003/manifest.json").write_text(_json(manifest))
    _write(folder, train_log__jsonl='{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.25}\n')


def _read_run(folder: Folder) -> None:
    from kobert_tf2.training import checkpoints, log

    checkpoints.are_ours(str(folder))
    checkpoints._checked_manifest(str(folder / "step-00000003"))
    log.is_ours(str(folder / "train_log.jsonl"))
    log._keep_records_up_to(str(folder / "train_log.jsonl"), 1)


def _make_flags(folder: Folder) -> None:
    _write(
        folder,
        a__flags="# a comment\n--learning_rate=3e-5\n--flagfile=b.flags\n--train_file=x.json,y.json\n\n--do_train\n",
    )
    _write(folder, b__flags="// another\n--output_dir=out\n--nouse_tpu\n")


def _read_flags(folder: Folder) -> None:
    from kobert_tf2 import flag_files

    flag_files.expand([f"--flagfile={folder}/a.flags", "--seed=1"])


def _make_cache(folder: Folder) -> None:
    from kobert_tf2.reading import squad_files, window_cache, windows
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    _make_questions(folder)
    questions = squad_files.read_squad(str(folder / "data.json"))
    made = windows.make_windows(
        questions, Tokenizer(PIECES, pre_tokenizer="none"), max_seq_length=16, doc_stride=4, max_query_length=6
    )
    window_cache._save(str(folder / "windows.npz"), "the key", made)


def _read_cache(folder: Folder) -> None:
    from kobert_tf2.reading import window_cache

    window_cache._load(str(folder / "windows.npz"), "the key", 16, 0)


TARGETS = {
    "questions": Target(_make_questions, ("data.json", "rows.jsonl"), _read_questions),
    "answers": Target(_make_questions, ("p.json", "o.json", "n.json"), _read_answers),
    "sentences": Target(_make_labelled, ("a.tsv", "b.tsv"), _read_sentences),
    "entities": Target(_make_labelled, ("klue.tsv", "conll.txt", "marked.txt", "gold.tsv"), _read_entities),
    "corpus": Target(_make_labelled, ("corpus.txt",), _read_corpus),
    "vocabulary": Target(_make_hugging_face, ("vocab.txt",), _read_vocabulary),
    "our tokenizer": Target(_make_ours, ("tokenizer_config.json", "vocab.txt"), _read_tokenizer),
    "tokenizer of Hugging Face": Target(
        _make_hugging_face,
        ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "vocab.txt"),
        _read_tokenizer,
    ),
    "tokenizer.json": Target(_make_tokenizer_json, ("tokenizer.json",), _read_tokenizer),
    "SentencePiece": Target(
        _make_sentencepiece, ("tokenizer.model", "vocab.txt", "tokenizer_config.json"), _read_tokenizer, "sentencepiece"
    ),
    "words": Target(_make_words, ("words.csv",), _read_words),
    "records": Target(_make_records, ("r", "z"), _read_records),
    "example": Target(_make_example, ("example",), _read_example),
    "side-cars": Target(_make_records, ("r.json", "s.json"), _read_side_cars),
    "work files": Target(_make_records, ("tokens", "column"), _read_work_files),
    "safetensors": Target(_make_model, ("model.safetensors", "config.json"), _read_weights),
    "shards": Target(_make_shards, ("model.safetensors.index.json", "model-1.safetensors"), _read_weights),
    "TF1": Target(
        _make_tf1,
        ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "bert_config.json", "checkpoint"),
        _read_weights,
    ),
    "pickle": Target(_make_pickle, ("pytorch_model.bin",), _read_pickle, "torch"),
    "configurations": Target(_make_configs, ("config.json", "bert_config.json"), _read_config),
    "model": Target(_make_model, ("config.json", "model.safetensors"), _read_model),
    "doctor": Target(_make_model, ("config.json", "model.safetensors"), _inspect),
    "run": Target(_make_run, ("step-00000003/manifest.json", "train_log.jsonl"), _read_run),
    "kept windows": Target(_make_cache, ("windows.npz",), _read_cache),
    "flags": Target(_make_flags, ("a.flags", "b.flags"), _read_flags),
}


def judge(target: Target, folder: Folder) -> str | None:
    """Returns the problem with a reader's error, or None; exceptions other than `InputError` propagate."""
    from kobert_tf2.errors import InputError

    try:
        target.read(folder)
    except InputError as error:
        said = str(error)
        # A list of mismatched weights has a line for each.
        if not all(line.startswith(("  ", "what to do: ")) for line in said.strip().splitlines()[1:]):
            return f"expected one sentence, but it has several lines: {said[:500]!r}"
        if len(said) > 2000:
            return f"expected a sentence, but it has {len(said)} characters: {said[:500]!r}"
        if not any(name in said for name in (folder.name, *target.files)):
            return f"expected the name of the file in the sentence: {said[:500]!r}"
    return None
