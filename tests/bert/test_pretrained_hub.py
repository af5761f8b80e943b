"""A hub id through the real `huggingface_hub` client, against a small hub on loopback and against none."""

import os
import textwrap

import numpy as np
import pytest
import warm_python
from loopback_hub import REVISIONS, serve
from small_models import config

from kobert_tf2 import hub as hub_module
from kobert_tf2.bert import models
from kobert_tf2.errors import InputError

SCRIPT = """
    import sys
    from kobert_tf2.bert import checkpoint_files as weight_files
    from kobert_tf2.errors import InputError
    try:
        print(weight_files.find_source(sys.argv[1]).folder)
    except InputError as error:
        print(error)
        sys.exit(1)
"""


def find_in_a_process(name: str, endpoint: str, tmp_path, **environment):
    """The client reads its endpoint and its cache's place when it is imported."""
    command = ["-c", textwrap.dedent(SCRIPT), name]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), **environment}
    return warm_python.run(command, env=environment, cwd=tmp_path)


@pytest.fixture
def model(tmp_path):
    model = models.BertForQuestionAnswering(config(num_hidden_layers=1))
    model.save_pretrained(tmp_path / "served")
    (tmp_path / "served" / "tf_model.h5").write_bytes(b"large and of no use")
    return model


@pytest.fixture
def hub(model, tmp_path):
    models.BertForQuestionAnswering(config(num_hidden_layers=1)).save_pretrained(tmp_path / "second")
    with serve(tmp_path / "served", v2=tmp_path / "second") as served:
        yield served


def test_a_hub_id_is_downloaded_once_and_loads_offline_afterwards(hub, model, tmp_path):
    endpoint, asked = hub
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        count = len(asked)
        result = find_in_a_process("owner/tiny", endpoint, tmp_path, **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        loaded = models.BertForQuestionAnswering.from_pretrained(result.stdout.strip())
        for ours, theirs in zip(model.weights, loaded.weights, strict=True):
            assert np.array_equal(ours, theirs), ours.path
    assert len(asked) == count
    assert not any("tf_model.h5" in path for path in asked)


def test_a_revision_is_named_after_an_at_sign(hub, tmp_path):
    result = find_in_a_process("owner/tiny@v2", hub[0], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip().endswith(REVISIONS["v2"])
    wrong = find_in_a_process("owner/tiny@v3", hub[0], tmp_path)
    assert "owner/tiny has no branch, tag or commit 'v3'" in wrong.stdout


def test_a_name_that_the_hub_does_not_have_is_reported(hub, tmp_path):
    result = find_in_a_process("owner/other", hub[0], tmp_path)
    assert result.returncode == 1
    assert "owner/other: there is no such folder here, and no such model at http://127.0.0.1" in result.stdout


def test_offline_it_says_what_to_download_and_where_to_put_it(tmp_path):
    result = find_in_a_process("klue/bert-base", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 1
    for part in ("klue/bert-base", "config.json, model.safetensors and vocab.txt", "into a folder"):
        assert part in result.stdout


@pytest.mark.parametrize(
    "name",
    ["../model", "/no/such/folder", "a/../b", "a/b/c", "./model", "~/model", "bucket//x", "a@../b", "a@b//c", "a@"],
)
def test_what_is_no_hub_id_never_reaches_the_client(name, monkeypatch):
    monkeypatch.setattr(hub_module, "fetch", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="nothing has that name"):
        models.BertBackbone.from_pretrained(name)
