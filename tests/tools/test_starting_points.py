"""One rule for what a tool starts from: each tool x each kind of model gives one tokenizer and one configuration."""

import json
import os

import pytest
import tokenizer_folders
import warm_python
from loopback_hub import serve
from paths import ROOT

from kobert_tf2 import sample_data

SUPPORT = ROOT / "tests" / "support"
# The flags of each tool that name the data, and whether it takes --init_checkpoint and --bert_config_file.
TOOLS = {
    "create_pretraining_data": ("--input_file={folder}/train.tsv --output_file={folder}/r", False),
    "evaluate_mrc": ("--data_file={folder}/train.json --ceiling", False),
    "pretrain": ("--input_file={folder}/r.tfrecord --output_dir={folder}/out --do_train", True),
    "finetune_mrc": ("--train_file={folder}/train.json --output_dir={folder}/out --do_train --max_seq_length=16 "
                     "--doc_stride=4 --max_query_length=8", True),
    "finetune_ner": ("--train_file={folder}/train.tsv --output_dir={folder}/out --do_train --max_seq_length=16 "
                     "--doc_stride=4", True),
    "finetune_classifier": ("--train_file={folder}/train.tsv --output_dir={folder}/out --do_train "
                            "--max_seq_length=16", True),
}  # fmt: skip
TEXT = "학교에서 CAFE는 cafe 사과나무를"
PLAIN = {"pre_tokenizer": "none", "do_lower_case": False, "strip_accents": False}
# What each kind is named by, as --vocab_file and as --init_checkpoint (and --bert_config_file), and what is chosen.
KINDS = {
    "ours": ("ours", "ours", "", {"pre_tokenizer": "mecab", "continuation": "morpheme"}, "as saved in"),
    "Hugging Face": ("hf", "hf", "", {**PLAIN, "do_lower_case": True}, "tokenizer_config.json says"),
    "TF1": ("tf1", "tf1/bert_model.ckpt", "", PLAIN, "no tokenizer_config.json"),
    "TF1, its configuration elsewhere": (
        *("other_tf1", "other_tf1/bert_model.ckpt", "other_tf1.json"),
        *(PLAIN, "no tokenizer_config.json"),
    ),
    "vocab.txt": ("bare/vocab.txt", "tf1", "", PLAIN, "no tokenizer_config.json"),
    "vocab.txt and mecab": ("bare/vocab.txt", "tf1", "", {"pre_tokenizer": "mecab"}, "no tokenizer_config.json"),
    "hub id": ("owner/tiny", "owner/tiny", "", {**PLAIN, "do_lower_case": True}, "tokenizer_config.json says"),
    "KoBERT": ("kobert", "kobert", "", {"pre_tokenizer": "sentencepiece"}, "with the ids of"),
    "tokenizer.json": ("json", "json", "", PLAIN, "tokenizer.json says"),
    "hub id of KoBERT": ("owner/tiny@v3", "owner/tiny@v3", "", {"pre_tokenizer": "sentencepiece"}, "with the ids of"),
    "hub id with a revision": ("owner/tiny@v2", "owner/tiny@v2", "", {"pre_tokenizer": "mecab"}, "as saved in"),
}


OF_GOOGLES_FORM = {name for name in KINDS if name.startswith(("ours", "TF1", "vocab.txt")) or "revision" in name}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starting")
    tokenizer_folders.ours(folder / "ours")
    tokenizer_folders.hugging_face(folder / "hf")
    tokenizer_folders.tf1(folder / "tf1")
    tokenizer_folders.tf1(folder / "other_tf1", with_config=False)
    tokenizer_folders.write_vocab(folder / "bare")
    tokenizer_folders.kobert(folder / "kobert")
    tokenizer_folders.tokenizer_json(folder / "json")
    (folder / "train.tsv").write_text("document\tlabel\n사과\t0\n나무\t1\n", "utf-8")
    (folder / "train.json").write_text(json.dumps(sample_data.korquad(1, seed=1, questions_each=1)), "utf-8")
    (folder / "r.tfrecord").write_bytes(b"")
    return folder


def command_line(folder, tool: str, kind: str) -> list[str]:
    data, with_model = TOOLS[tool]
    vocab, checkpoint, config, _, _ = KINDS[kind]
    here = lambda name: name if name.startswith("owner/") else f"{folder}/{name}"  # noqa: E731
    line = [*data.format(folder=folder).split()]
    # The tokenizer is beside the weights; where it stands alone it must be named.
    if not with_model or kind.startswith("vocab.txt"):
        line.append(f"--vocab_file={here(vocab)}")
    if with_model:
        line.append(f"--init_checkpoint={here(checkpoint)}")
    if with_model and config:
        line.append(f"--bert_config_file={here(config)}")
    if kind.endswith("mecab"):
        line.append("--pre_tokenizer=mecab")
    return line


@pytest.fixture(scope="module")
def results(folder) -> dict:
    """{tool: {kind: what was chosen}}, one process for each tool."""
    found = {}
    with serve(folder / "hf", v2=folder / "ours", v3=folder / "kobert") as (endpoint, _):
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        for tool in TOOLS:
            lines = {kind: command_line(folder, tool, kind) for kind in KINDS}
            (folder / f"{tool}.json").write_text(json.dumps({"lines": lines, "texts": [TEXT]}), "utf-8")
            command = [SUPPORT / "chosen_by_tool.py", ROOT / f"tools/{tool}.py", folder / f"{tool}.json"]
            run = warm_python.run(command, env=environment, cwd=folder)
            assert run.returncode == 0, run.stderr
            found[tool] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_finds_the_same_tokenizer(results, tool, kind):
    result = results[tool][kind]
    expected, reason = KINDS[kind][3:]
    assert "error" not in result, result
    assert {name: result["settings"][name] for name in expected} == expected
    assert result["settings"] == results["create_pretraining_data"][kind]["settings"]
    assert result["tokens"] == results["create_pretraining_data"][kind]["tokens"]
    (line,) = result["lines"]
    assert reason in line
    assert f"pre_tokenizer={expected['pre_tokenizer']}" in line
    assert ("original scripts" in line) == (kind.startswith(("TF1", "vocab.txt")))


def test_an_old_command_line_does_not_get_morphemes(results):
    assert results["finetune_mrc"]["TF1"]["tokens"][TEXT] == [
        "학교",
        "##에서",
        "[UNK]",
        "cafe",
        "사과",
        "##나무",
        "##를",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_tool_finds_the_same_configuration(results, kind):
    configs = [results[tool][kind]["config"] for tool, (_, with_model) in TOOLS.items() if with_model]
    assert configs == [configs[0]] * len(configs)
    assert configs[0]["hidden_act"] == ("gelu_new" if kind in OF_GOOGLES_FORM else "gelu")
