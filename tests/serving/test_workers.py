"""Several worker processes behind one socket: what is lost when one dies, what the counts say, how they end."""

import concurrent.futures
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from paths import ROOT

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

import kobert_tf2 as kb


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마바사", *(f"##{one}" for one in "가나다라마바사")]
    config = kb.BertConfig(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    folder = str(tmp_path_factory.mktemp("served") / "모델 1")
    kb.BertForQuestionAnswering(config).save_pretrained(folder, kb.Tokenizer(vocab, pre_tokenizer="none"))
    return folder


class Service:
    """`tools/serve.py` on a free port; its standard error is read line by line."""

    def __init__(self, model_dir: str, *flags: str):
        command = [sys.executable, str(ROOT / "tools" / "serve.py"), f"--model_dir={model_dir}", "--port=0", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.line(r"served on (http://[\d.:]+)/").group(1)

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.put(line)

    def line(self, pattern: str) -> re.Match:
        """Waits for a line that matches."""
        while True:
            found = re.search(pattern, self._lines.get(timeout=600))
            if found:
                return found

    def workers(self) -> list[int]:
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(one) for one in children]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=600) as response:
            return response.read().decode()

    def ask(self) -> bool:
        """Whether there is an answer."""
        body = json.dumps({"question": "가나?", "context": "다라 마바"}).encode()
        request = urllib.request.Request(f"{self.url}/answer", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as response:
                return "text" in json.load(response)
        except OSError:
            return False

    def wait_until_ready(self, number: int) -> None:
        while json.loads(self.get("/healthz"))["workers"] != number:
            assert self.process.poll() is None
            time.sleep(0.05)


def test_a_worker_dies_and_the_service_goes_on(model_dir):
    service = Service(model_dir, "--workers=2")
    try:
        service.wait_until_ready(2)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: service.ask(), range(40)))
            first, second = service.workers()
            for pid in (first, second):
                assert "memfd:kobert_tf2-weights" in pathlib.Path(f"/proc/{pid}/maps").read_text()
            asked = [pool.submit(service.ask) for _ in range(200)]
            concurrent.futures.wait(asked[:20])
            os.kill(first, signal.SIGKILL)
            answered = [one.result() for one in asked]
        assert answered.count(False) <= 8  # At most those in progress; what comes afterwards is answered by the other.
        service.line(rf"worker \d \(process {first}\) was ended by signal 9: started again")
        service.wait_until_ready(2)
        assert second in service.workers()
        assert first not in service.workers()
        assert all(service.ask() for _ in range(10))
        health = json.loads(service.get("/healthz"))
        # Counted over both workers, and over the dead one: it may have answered what did not arrive, and have answered
        # what it did not count.
        assert 250 - 8 <= health["answered"] <= 250
        answers = re.search(r'kobert_requests_total\{path="/answer",status="200"\} (\S+)', service.get("/metrics"))
        assert 250 - 8 <= float(answers.group(1)) <= 250
        workers = service.workers()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(600) == -signal.SIGTERM
        assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers)
    finally:
        service.process.kill()
        service.process.wait()


@pytest.mark.slow
def test_a_worker_that_would_serve_other_weights_is_not_started_again(model_dir, tmp_path):
    folder = shutil.copytree(model_dir, tmp_path / "model")
    service = Service(str(folder), "--workers=2")
    try:
        shutil.rmtree(folder)
        model = kb.BertForQuestionAnswering.from_pretrained(model_dir)
        model.weights[0].assign(model.weights[0] * 2)
        model.save_pretrained(str(folder), kb.Tokenizer.from_pretrained(model_dir))
        os.kill(service.workers()[0], signal.SIGKILL)
        service.line(r"cannot serve \(.*the weights that the other workers serve")
        assert all(service.ask() for _ in range(10))
        assert json.loads(service.get("/healthz"))["workers"] == 1
    finally:
        service.process.terminate()
        service.process.wait()


@pytest.mark.slow
def test_workers_end_with_their_supervisor(model_dir):
    service = Service(model_dir, "--workers=2")
    workers = service.workers()
    service.process.kill()
    service.process.wait()
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=60)


def test_a_model_that_cannot_be_loaded_is_a_sentence(tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "serve.py"), f"--model_dir={tmp_path}", "--port=0", "--workers=2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 1
    assert re.fullmatch(
        rf"error: {tmp_path}: expected a model, but there is neither .*", result.stderr.splitlines()[-1]
    )
    assert "Traceback" not in result.stderr
