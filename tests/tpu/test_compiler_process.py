"""The process that compiles: it knows nothing of ours, leaves the network, and always answers."""

import json
import runpy
import subprocess
import sys

import pytest

from kobert_tf2.tpu import compiler_process

PATH = compiler_process.__file__


def in_process(script: str) -> None:
    subprocess.run(
        [sys.executable, "-P", "-c", f"import runpy, sys; module = runpy.run_path({PATH!r})\n{script}"], check=True
    )


def test_it_loads_neither_us_nor_tensorflow_nor_the_compiler_before_it_has_left_the_network():
    in_process("assert not {'jax', 'jaxlib', 'libtpu', 'tensorflow', 'kobert_tf2', 'numpy'} & set(sys.modules)")


def test_it_leaves_the_network_or_says_that_it_could_not():
    in_process(
        "left = module['leave_network']()\n"
        "names = [line.split(':')[0].strip() for line in open('/proc/self/net/dev') if ':' in line]\n"
        "assert not left or names == ['lo'], names"
    )


def test_no_compilation_asks_the_cloud_or_looks_for_a_device():
    assert runpy.run_path(PATH)["ENVIRONMENT"].items() >= {"TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu"}.items()


@pytest.mark.parametrize("program", [b"", b"this is no program", None], ids=["empty", "text", "missing"])
def test_what_cannot_be_compiled_is_an_answer(tmp_path, program):
    """Also where jax is not installed."""
    if program is not None:
        (tmp_path / "hlo").write_bytes(program)
    paths = {name: str(tmp_path / name) for name in ("hlo", "compiled", "answer")}
    request = {**paths, "topology": "v5e:2x2", "topology_options": {}, "replicas": 9}
    (tmp_path / "request.json").write_text(json.dumps(request))
    subprocess.run([sys.executable, "-P", PATH, str(tmp_path / "request.json")], check=True, stderr=subprocess.DEVNULL)
    answer = json.loads((tmp_path / "answer").read_text())
    assert answer["failed"]
    assert isinstance(answer["isolated"], bool)
    assert not (tmp_path / "compiled").exists()
