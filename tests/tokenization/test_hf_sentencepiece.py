"""A SentencePiece tokenizer in transformers: the same ids from the folder that we save, without this package."""

import json
import shutil

import pytest
import warm_python
from sentencepiece_models import kobert_folder, made_text

from kobert_tf2.tokenization.tokenizer import Tokenizer

pytest.importorskip("sentencepiece")

SOME = "대한민국의  수도는 서울이다. "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return kobert_folder(tmp_path_factory.mktemp("kobert"))


SCRIPT = """
import json, sys
sys.modules["kobert_tf2"] = None
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
texts = json.load(open(sys.argv[2]))
tokenizer.save_pretrained(sys.argv[3])
again = AutoTokenizer.from_pretrained(sys.argv[3], trust_remote_code=True)
print(json.dumps([tokenizer(texts)["input_ids"], again(texts)["input_ids"]]))
"""


@pytest.mark.parametrize("lower", [False, True])
def test_a_saved_one_is_the_same_here_and_in_transformers_without_us(folder, tmp_path, lower):
    pytest.importorskip("transformers")
    (tmp_path / "from").mkdir()
    for name in ("vocab.txt", "tokenizer_78b3253a26.model"):
        shutil.copyfile(f"{folder}/{name}", tmp_path / "from" / name)
    (tmp_path / "from/tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    (tmp_path / "from/added_tokens.json").write_text(
        json.dumps({"[EMO]": len(Tokenizer.from_pretrained(folder).vocab)})
    )
    tokenizer = Tokenizer.from_pretrained(tmp_path / "from")
    tokenizer.save_pretrained(tmp_path / "saved")
    again = Tokenizer.from_pretrained(tmp_path / "saved")
    assert again.fingerprint() == tokenizer.fingerprint()
    lines = [SOME, "NAVER는 Naver", "서울[EMO]은 수도", "서울 [EMO] 수도", *made_text()[:50]]
    assert [again.encode(line) for line in lines] == [tokenizer.encode(line) for line in lines]
    assert (tokenizer.encode_ids(lines[1])[:2] == tokenizer.encode_ids(lines[1].lower())[:2]) or not lower
    (tmp_path / "texts.json").write_text(json.dumps(lines), "utf-8")
    command = ["-c", SCRIPT, *(tmp_path / name for name in ("saved", "texts.json", "third"))]
    result = warm_python.run(command, imported="transformers", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    expected = [[tokenizer.cls_id, *ids, tokenizer.sep_id] for ids in tokenizer.encode_ids_batch(lines)]
    assert json.loads(result.stdout.splitlines()[-1]) == [expected, expected]
