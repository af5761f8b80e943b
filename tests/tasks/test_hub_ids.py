"""A hub id wherever a model may be named: a reader and a classifier train from it, it is answered with and exported.

One process with the real client, which reads its endpoint and its cache's place when it is imported.
"""

import json
import os
import textwrap

import pytest
import tokenizer_folders
import warm_python
from loopback_hub import serve
from small_models import config

from kobert_tf2 import sample_data
from kobert_tf2.bert import models

SCRIPT = """
    import json
    import kobert_tf2 as kb
    from kobert_tf2.conversion import convert
    from kobert_tf2.serving import export
    from kobert_tf2.tasks import classify, read

    common = {
        "do_train": True, "train_batch_size": 2, "max_seq_length": 20, "num_train_epochs": 1.0,
        "strategy": "one_device", "log_steps": 1000,
    }
    reader = read.FinetuneSettings(
        init_checkpoint="owner/tiny", train_file="train.json", predict_file="train.json", do_predict=True,
        output_dir="reader", doc_stride=4, max_query_length=8, **common,
    )
    classifier = classify.FinetuneSettings(
        init_checkpoint="owner/tiny@v2", train_file="train.tsv", output_dir="classifier", **common
    )
    done = {
        "reader": read.finetune(reader)["global_step"],
        "classifier": classify.finetune(classifier)["global_step"],
        "exported": export.export("owner/tiny", "export")["head"],
        "answer": sorted(kb.Predictor.load("owner/tiny").answer("사과는?", "사과 나무를"))[:2],
        "converted": convert.convert("owner/tiny", "tf1", to="tf1", compare=False)["architecture"],
        "tokenizers": [kb.Tokenizer.from_pretrained(path).settings()["pre_tokenizer"]
                       for path in ("reader/model", "classifier/model")],
    }
    print(json.dumps(done))
"""


OFFLINE = """
import kobert_tf2 as kb
kb.Predictor.load("owner/tiny").answer("사과는?", "사과 나무를")
"""


@pytest.fixture
def folder(tmp_path):
    tokenizer_folders.hugging_face(tmp_path / "first", do_lower_case=False)
    reader = models.BertForQuestionAnswering(config(vocab_size=len(tokenizer_folders.PIECES), num_hidden_layers=1))
    reader.save_pretrained(tmp_path / "first")
    tokenizer_folders.ours(tmp_path / "second")
    (tmp_path / "train.tsv").write_text("document\tlabel\n사과\t0\n나무\t1\n", "utf-8")
    data = sample_data.korquad(1, seed=1, questions_each=1)
    (tmp_path / "train.json").write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    return tmp_path


@pytest.mark.slow
def test_every_task_takes_a_hub_id_online_and_from_the_cache_offline(folder):
    (folder / "run.py").write_text(textwrap.dedent(SCRIPT), "utf-8")
    with serve(folder / "first", v2=folder / "second") as (endpoint, asked):
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "cache")}
        path = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
        result = warm_python.run(["run.py"], cwd=folder, env={**environment, "PYTHONPATH": path})
        assert result.returncode == 0, result.stderr[-3000:]
        count = len(asked)
        offline = {**environment, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
        again = warm_python.run(["-c", OFFLINE], cwd=folder, env=offline)
    assert again.returncode == 0, again.stderr[-3000:]
    assert len(asked) == count
    done = json.loads(result.stdout.splitlines()[-1])
    assert done["reader"] > 0
    assert done["classifier"] > 0
    assert done["exported"] == "reading"
    assert done["converted"] == "BertForQuestionAnswering"
    assert done["tokenizers"] == ["none", "mecab"]
    assert any(path.endswith("/model.safetensors") for path in asked)
    assert result.stderr.count("the original scripts") == 0
