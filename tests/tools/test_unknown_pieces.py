"""Every tool that reads text says how many of its pieces are unknown, and warns where the vocabulary does not fit."""

import json

import pytest
import warm_python
from paths import ROOT
from slow_cases import rest_slow
from small_models import config

from kobert_tf2 import sample_data
from kobert_tf2.bert import models
from kobert_tf2.tokenization.tokenizer import Tokenizer

LENGTHS = "--max_seq_length=24 --train_batch_size=2 --num_train_epochs=0.1"
TOOLS = {
    "create_pretraining_data": "--input_file=text.txt --output_file=records --vocab_file=model --dupe_factor=1 "
    "--num_workers=1",
    "evaluate_mrc": "--ceiling --data_file=squad.json --vocab_file=model",
    "finetune_mrc": f"--init_checkpoint=model --do_train --train_file=squad.json --output_dir=reader {LENGTHS} "
    "--doc_stride=8 --max_query_length=8",
    "finetune_classifier": f"--init_checkpoint=model --do_train --train_file=train.tsv --output_dir=classes {LENGTHS}",
    "finetune_ner": f"--init_checkpoint=model --do_train --train_file=marked.txt --output_dir=tagger {LENGTHS}",
    "build_vocab": "--input_file=text.txt --output_dir=vocab --vocab_size=60 --held_out=2 --num_workers=1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unknown")
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "##."], pre_tokenizer="none")
    models.BertBackbone(config(vocab_size=7, num_hidden_layers=1)).save_pretrained(folder / "model", tokenizer)
    data = sample_data.korquad(2, seed=1, questions_each=1)
    (folder / "squad.json").write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    sentences = [f"{word}를 보았다. 좋다." for word in ("바다", "하늘", "강물", "나무", "사람", "도시")]
    (folder / "text.txt").write_text("\n\n".join("\n".join(sentences) for _ in range(4)) + "\n", "utf-8")
    rows = [f"{sentence}\t{i % 2}" for i, sentence in enumerate(sentences)]
    (folder / "train.tsv").write_text("\n".join(["document\tlabel", *rows]) + "\n", "utf-8")
    marked = "\n".join(f"<{sentence[:2]}:LC>{sentence[2:]}" for sentence in sentences)
    (folder / "marked.txt").write_text(marked + "\n", "utf-8")
    return folder


@pytest.mark.parametrize("tool", rest_slow(TOOLS))
def test_a_tool_says_how_much_of_its_text_is_unknown(folder, tool):
    result = warm_python.run([ROOT / f"tools/{tool}.py", *TOOLS[tool].split()], cwd=folder)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "pieces are unknown (" in result.stderr
    assert json.loads(result.stdout), "its result, and nothing else, on standard output"
    if tool in ("finetune_ner", "finetune_classifier"):
        assert json.loads(result.stdout.splitlines()[-1])["unknown_share"] > 0.5
    if tool != "build_vocab":
        assert "this vocabulary does not fit the text" in result.stderr
