"""Command lines of the original scripts: every flag is known, keeps its meaning, and the tokens are the original's."""

import json
import os

import original_tokenizer
import pytest
import tokenizer_folders
import warm_python
from paths import ROOT

from kobert_tf2 import sample_data

RUNNING = (
    "save_checkpoints_steps=500 iterations_per_loop=10 use_tpu=False tpu_name= tpu_zone= gcp_project= master= "
    "num_tpu_cores=8"
)
# Every flag that each of the original's scripts has, with a value that it takes there.
SCRIPTS = {
    "create_pretraining_data": (
        "input_file={D}/text.txt output_file={D}/records vocab_file={B}/vocab.txt do_lower_case={C} "
        "do_whole_word_mask=True max_seq_length=16 max_predictions_per_seq=20 random_seed=12345 dupe_factor=5 "
        "masked_lm_prob=0.15 short_seq_prob=0.1"
    ),
    "pretrain": (
        "bert_config_file={B}/bert_config.json input_file={D}/r.tfrecord output_dir={D}/out "
        "init_checkpoint={B}/bert_model.ckpt max_seq_length=16 max_predictions_per_seq=20 do_train=True do_eval=True "
        f"train_batch_size=32 eval_batch_size=8 learning_rate=2e-5 num_train_steps=20 num_warmup_steps=10 "
        f"max_eval_steps=100 {RUNNING}"
    ),
    "finetune_mrc": (
        "bert_config_file={B}/bert_config.json vocab_file={B}/vocab.txt output_dir={D}/out train_file={D}/squad.json "
        "predict_file={D}/squad.json init_checkpoint={B}/bert_model.ckpt do_lower_case={C} max_seq_length=16 "
        "doc_stride=4 max_query_length=8 do_train=True do_predict=True train_batch_size=12 predict_batch_size=8 "
        "learning_rate=3e-5 num_train_epochs=2.0 warmup_proportion=0.1 n_best_size=20 max_answer_length=30 "
        f"verbose_logging=False version_2_with_negative=True null_score_diff_threshold=-1.5 {RUNNING}"
    ),
    "finetune_classifier": (
        "data_dir={D} bert_config_file={B}/bert_config.json task_name=MRPC vocab_file={B}/vocab.txt output_dir={D}/out "
        "init_checkpoint={B}/bert_model.ckpt do_lower_case={C} max_seq_length=16 do_train=true do_eval=true "
        "do_predict=true train_batch_size=32 eval_batch_size=8 predict_batch_size=8 learning_rate=2e-5 "
        f"num_train_epochs=3.0 warmup_proportion=0.1 {RUNNING}"
    ),
}
PIECES = [
    *tokenizer_folders.PIECES,
    *"the Cafe ##s ##S apple Apple ' , ! - ##é é e ee ##e naive ##ï ( ) 漢 字 ##다 하".split(),
]
# Without Hangul where the original's lower-casing would take it apart, which ours never does.
CASED = ["학교에서 사과나무를 CAFE는 Apples, 漢字(하다)!", "사과나무를\u3000사과 cafe-나무 \u200b를 는", "naïve Cafés"]
LOWER = ["The CAFES' Apple, naïve café - 漢字", "ÉÉ (APPLE)!"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("old")
    tokenizer_folders.tf1(folder / "bert")
    tokenizer_folders.write_vocab(folder / "bert", PIECES)
    config = json.loads((folder / "bert/bert_config.json").read_text())
    (folder / "bert/bert_config.json").write_text(json.dumps(config | {"vocab_size": len(PIECES)}))
    (folder / "text.txt").write_text("사과나무를\n학교에서\n", "utf-8")
    (folder / "r.tfrecord").write_bytes(b"")
    (folder / "squad.json").write_text(json.dumps(sample_data.korquad(1, seed=1, questions_each=1)), "utf-8")
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text("document\tlabel\n사과\t0\n나무\t1\n", "utf-8")
    return {tool: run(tool, flags, folder) for tool, flags in SCRIPTS.items()}


def run(tool: str, flags: str, folder) -> dict:
    """With --do_lower_case as True, as False and left out, up to where the tool has its tokenizer."""
    lines = {}
    for case in ("True", "False", None):
        words = [flag for flag in flags.split() if case or "{C}" not in flag]
        lines[str(case)] = [f"--{word.format(B=folder / 'bert', D=folder, C=case)}" for word in words]
    (folder / "lines.json").write_text(json.dumps({"lines": lines, "texts": [*CASED, *LOWER]}), "utf-8")
    command = [ROOT / "tests/support/chosen_by_tool.py", ROOT / f"tools/{tool}.py", folder / "lines.json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    result = warm_python.run(command, env=environment, cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


WITH_TEXT = [tool for tool in SCRIPTS if tool != "pretrain"]


@pytest.mark.parametrize("tool", WITH_TEXT)
@pytest.mark.parametrize(("case", "texts"), [("True", LOWER), ("False", CASED)])
def test_the_tokens_are_those_of_the_original(results, tool, case, texts):
    tokens = results[tool][case]["tokens"]
    for text in texts:
        assert tokens[text] == original_tokenizer.tokenize(text, PIECES, lower_case=case == "True"), text


@pytest.mark.parametrize("tool", WITH_TEXT)
def test_lower_casing_leaves_hangul_whole_and_its_other_default_is_said(results, tool):
    assert results[tool]["True"]["tokens"][CASED[0]][:2] == ["학교", "##에서"]
    left_out, said = results[tool]["None"], results[tool]["None"]["lines"][0]
    assert left_out["settings"] == results[tool]["False"]["settings"]
    assert "do_lower_case is off, which the original scripts have on by default" in said
    assert not any("original scripts" in results[tool][case]["lines"][0] for case in ("True", "False"))


def test_pretraining_starts_from_the_checkpoint_with_its_own_vocabulary(results):
    assert results["pretrain"]["None"]["settings"]["pre_tokenizer"] == "none"
    assert results["pretrain"]["None"]["config"]["vocab_size"] == len(PIECES)


@pytest.mark.parametrize("tool", SCRIPTS)
def test_one_configuration_and_the_tanh_form(results, tool):
    if tool != "create_pretraining_data":
        assert results[tool]["None"]["config"]["hidden_act"] == "gelu_new"
