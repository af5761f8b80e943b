"""One function over many items by Beam, on this machine: results in order, nothing left behind."""

import functools

import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`: pip install -e '.[beam,test]'")

from kobert_tf2 import beam_map
from kobert_tf2.errors import InputError

OPTIONS = ["--runner=FnApiRunner"]


def square(item: int) -> dict:
    return {"squared": item * item, "글": "가"}


def fail(kind: str, item: int) -> int:
    if item % 3 != 2:
        return item
    if kind == "input":
        raise InputError(f"item {item}")
    if kind == "disk":
        raise OSError(28, "No space left on device", f"/a/{item}")
    raise KeyError(f"item {item}")


def test_results_are_in_the_order_of_the_items_and_the_folder_is_as_before(tmp_path):
    made = beam_map.run(square, range(100), options=OPTIONS, folder=str(tmp_path))
    assert made == [square(item) for item in range(100)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "said"), [("input", r"^item 2$"), ("disk", r"^/a/2: No space left on device \(on \S+\)$")]
)
def test_the_first_mistake_by_order_is_the_sentence(tmp_path, kind, said):
    with pytest.raises(InputError, match=said):
        beam_map.run(functools.partial(fail, kind), range(9), options=OPTIONS, folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path):
    with pytest.raises(Exception, match="item 2"):
        beam_map.run(functools.partial(fail, "ours"), range(9), options=OPTIONS, folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_other_versions_on_a_worker_are_refused(tmp_path, monkeypatch):
    versions = iter([{"numpy": "1.0"}, {"numpy": "2.0"}])
    monkeypatch.setattr(beam_map, "_versions", lambda: next(versions))
    with pytest.raises(InputError, match=r"has numpy 2\.0, but the machine that started the pipeline has 1\.0"):
        beam_map.run(square, [1], options=OPTIONS, folder=str(tmp_path))


def test_a_worker_that_does_not_see_the_folder_is_reported(tmp_path, monkeypatch):
    real = beam_map._run_pipeline
    monkeypatch.setattr(
        beam_map,
        "_run_pipeline",
        lambda pipeline, what, items, function_path, results_path: real(
            pipeline, what, items, function_path.replace(str(tmp_path), "/elsewhere"), results_path
        ),
    )
    with pytest.raises(InputError, match=r"^/elsewhere: the worker on .* does not see it; the workers must share"):
        beam_map.run(square, [1], options=OPTIONS, folder=str(tmp_path))


def test_a_runner_that_beam_does_not_have_is_a_sentence():
    with pytest.raises(InputError, match=r"^--beam_option=--runner=NoRunner: Beam has no such runner here: "):
        beam_map.check(["--runner=NoRunner"])
    beam_map.check(OPTIONS)
    beam_map.check([])


def test_paths_are_made_absolute_for_workers_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert beam_map.absolute("a/*.txt, /b,gs://c/d") == f"{tmp_path}/a/*.txt,/b,gs://c/d"
