"""What the READMEs show is so: the commands' tools and flags exist, the head of one's own trains, both say the same."""

import pathlib
import re
import subprocess
import sys

import pytest
import warm_python
from korean_text import VOCAB

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language; "" is a command line."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


def without_comments(block: str) -> str:
    return re.sub(r"( +|^)#.*", "", block, flags=re.MULTILINE)


def commands(text: str) -> list[tuple[str, set[str]]]:
    """(tool, its flags) of each command line that runs one of the tools."""
    lines = "\n".join(map(without_comments, blocks(text, ""))).replace("\\\n", " ").splitlines()
    found = [re.search(r"(tools/\w+\.py)(.*)", line) for line in lines]
    return [(match[1], set(re.findall(r"(?<!beam_option=)--(\w+)", match[2]))) for match in found if match]


@pytest.mark.parametrize("tool", sorted({tool for tool, _ in commands(ENGLISH)}))
def test_each_flag_of_a_command_exists(tool):
    shown = set().union(*(flags for name, flags in commands(ENGLISH) if name == tool)) - {"flagfile"}
    result = subprocess.run([sys.executable, str(ROOT / tool), "--help"], capture_output=True, text=True, check=True)
    known = set(re.findall(r"--(?:\[no\])?(\w+)", result.stdout))
    assert shown <= known, f"{tool} has no {sorted(shown - known)}"


def test_each_flagfile_exists():
    for command in blocks(ENGLISH, ""):
        for path in re.findall(r"--flagfile=(\S+)", command):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("language", ["", "python"])
def test_both_languages_show_the_same_code(language):
    english, korean = ([without_comments(block) for block in blocks(text, language)] for text in (ENGLISH, KOREAN))
    assert english == korean


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """A working folder with what the README's programs read."""
    import kobert_tf2 as kb

    tokenizer = kb.Tokenizer(VOCAB)
    config = kb.BertConfig(
        vocab_size=len(tokenizer.vocab),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    kb.BertForPreTraining(config).save_pretrained(str(tmp_path / "pretrained/model"), tokenizer=tokenizer)
    rows = "".join(f"{'재미있다' if i % 2 else '지루하다'} {i}\t{i % 2}\n" for i in range(40))
    (tmp_path / "train.tsv").write_text("document\tlabel\n" + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def other_models(pretrained):
    """The other folders that the Python blocks name."""
    from small_models import config

    from kobert_tf2.bert import models
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    tokenizer, tiny = Tokenizer(VOCAB), config(vocab_size=len(VOCAB), num_hidden_layers=1, max_position_embeddings=64)
    models.BertForQuestionAnswering(tiny).save_pretrained("reader/model", tokenizer)
    models.BertForTokenClassification(tiny, labels=("O", "B-LC", "I-LC")).save_pretrained("tagger/model", tokenizer)
    models.BertForSequenceClassification(tiny).save_pretrained("classifier/model", tokenizer)


def test_every_python_block_has_a_test_or_runs_here_as_it_stands(other_models, capsys):
    """The two that train have tests of their own."""
    for code in blocks(ENGLISH, "python"):
        if "transformers" in code:
            pytest.importorskip("torch", reason="torch and transformers are not installed")
            result = warm_python.run(["-c", code], imported="transformers")
            assert result.returncode == 0, result.stderr
        elif "model.fit" not in code and "loop.train" not in code:
            shown = {}
            exec(code, shown)
            assert shown["kb"].strip_josa("대한민국의 수도는 서울이다.", 10, 14) == (10, 12)
            assert shown["inputs"]["input_ids"].shape[0] == 2


def code_with(part: str, lines: int) -> str:
    (code,) = (block for block in blocks(ENGLISH, "python") if part in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= lines
    return code


def test_an_own_head_trains_as_shown(pretrained):
    shown = {}
    exec(code_with("model.fit", 15), shown)
    assert len(shown["model"].history.history["loss"]) == 3


def test_an_own_task_trains_as_shown(pretrained, capfd):
    """With few steps, and then evaluated with a partial batch."""
    code = code_with("loop.train", 25)
    shown = {}
    exec(code.replace("num_steps=300", "num_steps=3"), shown)
    assert "global_step" not in shown
    assert sorted(path.name for path in pathlib.Path("own/checkpoints").iterdir()) == ["step-00000003"]
    loop, model, task = shown["loop"], shown["model"], shown["task"]
    features = {name: values[:37] for name, values in shown["features"].items()}
    logits = model({name: features[name] for name in model.input})["logit"].numpy()[:, 0]
    expected = ((logits > 0) == (features["labels"] > 0)).mean()
    metrics = loop.evaluate(model, [{name: x[a : a + 20] for name, x in features.items()} for a in (0, 20)], task)
    assert metrics["accuracy"] == pytest.approx(expected)
    assert metrics["loss"] > 0
