"""A hub id through the real `huggingface_hub` client, against a small hub on loopback and against none."""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from small_models import config

from kobert_tf2.bert import checkpoint_files, models
from kobert_tf2.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """What of the hub's protocol a download needs: a model's commit, its tree, its files."""

    folder: pathlib.Path
    asked: list

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/tiny/tree/"):
            return self._json([self._entry(file) for file in sorted(self.folder.iterdir())])
        if path.startswith("/api/models/owner/tiny"):
            return self._json(
                {"id": "owner/tiny", "sha": COMMIT, "siblings": [{"rfilename": f} for f in self._names()]}
            )
        if path.startswith(f"/owner/tiny/resolve/{COMMIT}/") and path.rpartition("/")[2] in self._names():
            return self._file(self.folder / path.rpartition("/")[2])
        self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _names(self):
        return [file.name for file in self.folder.iterdir()]

    def _entry(self, file):
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": self._etag(file)}

    def _etag(self, file):
        return hashlib.sha1(file.read_bytes()).hexdigest()

    def _json(self, value):
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, file):
        self._answer(200, file.read_bytes(), {"ETag": f'"{self._etag(file)}"', "X-Repo-Commit": COMMIT})

    def _answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


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
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), name]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path)


@pytest.fixture
def model(tmp_path):
    model = models.BertForQuestionAnswering(config(num_hidden_layers=1))
    model.save_pretrained(tmp_path / "served")
    (tmp_path / "served" / "tf_model.h5").write_bytes(b"large and of no use")
    return model


@pytest.fixture
def hub(model, tmp_path):
    handler = type("Hub", (Hub,), {"folder": tmp_path / "served", "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    server.shutdown()


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


def test_a_name_that_the_hub_does_not_have_is_told(hub, tmp_path):
    result = find_in_a_process("owner/other", hub[0], tmp_path)
    assert result.returncode == 1
    assert "owner/other: there is no such folder here, and no such model at http://127.0.0.1" in result.stdout


def test_offline_it_says_what_to_download_and_where_to_put_it(tmp_path):
    result = find_in_a_process("klue/bert-base", "http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert result.returncode == 1
    for part in ("klue/bert-base", "config.json, model.safetensors and vocab.txt", "into a folder"):
        assert part in result.stdout


@pytest.mark.parametrize("name", ["../model", "/no/such/folder", "a/../b", "a/b/c", "./model", "~/model", "bucket//x"])
def test_what_is_no_hub_id_never_reaches_the_client(name, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "_fetch", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="nothing has that name"):
        models.BertBackbone.from_pretrained(name)
