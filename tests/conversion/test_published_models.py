"""The README's table of published models: each by a folder that is shaped like it, held against `transformers`."""

import json
import re
import textwrap

import numpy as np
import published_models
import pytest
import warm_python
from paths import ROOT
from published_models import PUBLISHED
from small_models import assert_close, numpy

from kobert_tf2 import files
from kobert_tf2.bert import models
from kobert_tf2.conversion import hf_forward, inspection, rewriting
from kobert_tf2.errors import InputError
from kobert_tf2.tokenization.tokenizer import Tokenizer

SENTENCES = ["가나 다라를 마바에서.", "사아의 자차도 카타로 AB ab 파하고", "나는 이가을"]
PICKLED = [name for name, published in PUBLISHED.items() if published.weights == "pickle"]
OF_TRANSFORMERS = [name for name, published in PUBLISHED.items() if published.config is not None]
WORDPIECE = [name for name in OF_TRANSFORMERS if PUBLISHED[name].vocabulary == "vocab.txt"]
ANSWER = """
    import json, pathlib, sys, numpy as np, torch, transformers
    folder, texts = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        batch = dict(np.load(f"{path}.batch.npz"))
        model = transformers.BertModel.from_pretrained(path).eval()
        with torch.no_grad():
            outputs = model(
                input_ids=torch.tensor(batch["input_ids"]).long(),
                attention_mask=torch.tensor(batch["input_mask"]).long(),
                token_type_ids=torch.tensor(batch["segment_ids"]).long(),
            )
        arrays = {"sequence_output": outputs.last_hidden_state.numpy(), "pooled_output": outputs.pooler_output.numpy()}
        np.savez(f"{path}.npz", **arrays)
        if (path / "vocab.txt").exists() and not list(path.glob("*.model")):
            tokenizer = transformers.BertTokenizer.from_pretrained(path)
            ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
            pathlib.Path(f"{path}.ids.json").write_text(json.dumps(ids))
"""


def needed(name: str) -> None:
    """Skips where a library that this model's files need is not installed."""
    if PUBLISHED[name].weights == "pickle":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    if PUBLISHED[name].vocabulary.endswith(".model"):
        pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")


@pytest.fixture(params=PUBLISHED)
def name(request) -> str:
    needed(request.param)
    return request.param


def batch(vocab_size: int, length: int = 12) -> dict:
    rng = np.random.default_rng(vocab_size)
    mask = (np.arange(length) < np.array([[length], [length - 4]])).astype(np.int32)
    return {
        "input_ids": rng.integers(0, vocab_size, mask.shape).astype(np.int32),
        "input_mask": mask,
        "segment_ids": (np.arange(length) > 5).astype(np.int32) * mask,
    }


def test_the_table_has_every_model_in_both_languages_with_the_line_that_loads_it():
    for readme in ("README.md", "README.ko.md"):
        rows = re.findall(
            r"^\| `?([^`|]+?)`? \| `([^`]+)` \|", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE
        )
        lines = {name: line for name, line in rows if name in PUBLISHED}
        assert list(lines) == list(PUBLISHED), readme
        for name, line in lines.items():
            pickled = PUBLISHED[name].weights == "pickle"
            assert line.startswith(
                "convert_checkpoint.py --allow_pickle --input=" if pickled else "from_pretrained("
            ), name
            assert name in line or PUBLISHED[name].config is None


def test_it_is_described_loaded_and_converted(name, tmp_path):
    published = PUBLISHED[name]
    folder = published_models.write(name, tmp_path / "folder")
    found = inspection.inspect(folder)
    if published.weights == "pickle":
        assert "--allow_pickle" in found.problems[0]
        with pytest.raises(InputError, match="allow_pickle"):
            models.BertBackbone.from_pretrained(folder)
    elif published.reads_tokenizer:
        assert found.problems == []
    elif published.vocabulary.endswith(".list"):
        assert found.problems == [f"{folder}: there is no tokenizer beside it; name one with --vocab_file"]
    else:
        assert any("the mark of HanBERT's analyser" in note for note in found.notes)
    summary = rewriting.rewrite(folder, f"{tmp_path}/converted", to="hf", allow_pickle=published.weights == "pickle")
    heads = ["masked_lm", "next_sentence"] if published.has_heads else []
    assert summary["parts"] == sorted([*heads, "pooler"])
    if published.weights != "pickle":
        assert found.parts == ["encoder", "pooler", *heads]
        model, again = (models.BertBackbone.from_pretrained(path) for path in (folder, f"{tmp_path}/converted"))
        inputs = batch(model.config.vocab_size)
        assert_close(numpy(model(inputs)), numpy(again(inputs)), 0)
        assert model.config.hidden_act == ("gelu_new" if published.config is None else "gelu")


def test_its_tokenizer_is_read_or_doubted(name, tmp_path):
    published = PUBLISHED[name]
    folder = published_models.write(name, tmp_path / "folder")
    if published.vocabulary.endswith(".list"):
        with pytest.raises(InputError, match="expected a tokenizer there"):
            Tokenizer.from_pretrained(folder)
    if not published.reads_tokenizer:
        with pytest.warns(UserWarning, match=r"the mark of (KorBERT's|HanBERT's)"):
            Tokenizer.from_pretrained(f"{folder}/{published.vocabulary}")
        return
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.settings()["pre_tokenizer"] == ("sentencepiece" if "model" in published.vocabulary else "none")
    assert tokenizer.settings()["do_lower_case"] == bool((published.tokenizer or {}).get("do_lower_case"))
    assert not tokenizer.settings()["strip_accents"]
    unknown = [token.id == tokenizer.unk_id for text in SENTENCES[::2] for token in tokenizer.encode(text)]
    assert np.mean(unknown) < 0.5


@pytest.mark.skipif(not hf_forward.is_installed(), reason="transformers and torch are not installed")
def test_transformers_gives_the_same_numbers_and_the_same_ids(tmp_path):
    """All of them in one process, which is slow to start."""
    folders = {}
    for name in OF_TRANSFORMERS:
        if PUBLISHED[name].vocabulary.endswith(".model"):
            pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
        folders[name] = published_models.write(name, tmp_path / "all" / name.replace("/", "-"))
        np.savez(f"{folders[name]}.batch.npz", **batch(files.read_json(f"{folders[name]}/config.json")["vocab_size"]))
    command = ["-c", textwrap.dedent(ANSWER), tmp_path / "all", json.dumps(SENTENCES)]
    result = warm_python.run(command, imported="transformers")
    assert result.returncode == 0, result.stderr
    for folder in folders.values():
        model = models.BertBackbone.from_pretrained(folder, allow_pickle=True)
        assert_close(numpy(model(dict(np.load(f"{folder}.batch.npz")))), dict(np.load(f"{folder}.npz")), 1e-4)
    for name in WORDPIECE:
        tokenizer = Tokenizer.from_pretrained(folders[name])
        ids = files.read_json(f"{folders[name]}.ids.json")
        assert [tokenizer.encode_ids(text) for text in SENTENCES] == ids, name
