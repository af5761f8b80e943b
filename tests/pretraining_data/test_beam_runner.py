"""The Beam pipeline makes the local runner's files. In an environment of its own: see the README."""

import pytest

pytest.importorskip("apache_beam", reason="needs the extra `beam`: pip install -e '.[beam,test]'")

from kobert_tf2 import beam_map
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import beam_runner, local_runner
from kobert_tf2.pretraining_data.instances import DocumentTokenizer, Settings
from kobert_tf2.tokenization.tokenizer import Tokenizer

RUNNER = ["--runner=FnApiRunner"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"가나다라마", *(f"##{letter}" for letter in "가나다라마")]


def request(tmp_path, output: str, **changed) -> local_runner.Request:
    for file in range(2):
        text = "\n\n".join(
            "\n".join("가나다라마"[(i + j + file) % 5] * (1 + (i * j) % 3) + " 나라" for j in range(1 + i % 6))
            for i in range(40)
        )
        (tmp_path / f"corpus-{file}.txt").write_text(text, encoding="utf-8")
    return local_runner.Request(
        **{
            "input_file": f"{tmp_path}/corpus-*.txt",
            "output_file": f"{tmp_path}/{output}/r",
            "tokenizer": Tokenizer(VOCAB, pre_tokenizer="none"),
            "settings": Settings(max_seq_length=16, max_predictions_per_seq=3, dupe_factor=2),
            "num_shards": 3,
            "block_bytes": 300,
        }
        | changed
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("changed", [{}, {"compression": "GZIP", "num_shards": 2}])
def test_beam_makes_the_bytes_of_the_local_runner(tmp_path, monkeypatch, changed):
    monkeypatch.setattr("kobert_tf2.pretraining_data.stages._BUCKET_BYTES", 20_000)  # several buckets a shard
    counts = local_runner.create(request(tmp_path, "local", **changed))
    assert beam_runner.create(request(tmp_path, "beam", **changed), RUNNER) == counts
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")


def test_parts_of_one_document_lend_each_other_nothing_there_either(tmp_path, capsys):
    (tmp_path / "one.txt").write_text("\n".join("가나다라마"[i % 5] * 3 for i in range(400)), encoding="utf-8")
    changed = {"input_file": f"{tmp_path}/one.txt", "num_shards": 1}
    counts = local_runner.create(request(tmp_path, "local", **changed))
    assert (counts["documents_cut"] > 0, counts["random_next"]) == (True, 0)
    assert beam_runner.create(request(tmp_path, "beam", **changed), RUNNER) == counts
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert capsys.readouterr().err.count("warning: the corpus is one document of 400 sentences") == 2


def test_outputs_that_are_there_are_kept_and_those_of_other_flags_refused(tmp_path):
    counts = local_runner.create(request(tmp_path, "local"))
    before = contents(tmp_path / "local")
    assert beam_runner.create(request(tmp_path, "local"), RUNNER) == counts
    with pytest.raises(InputError, match="begun with other flags"):
        beam_runner.create(request(tmp_path, "local", random_seed=1), RUNNER)
    assert contents(tmp_path / "local") == before


def test_a_pipeline_that_was_stopped_goes_on_from_what_is_whole(tmp_path, monkeypatch):
    """What an earlier pipeline, or a local run, finished of the blocks is not made again."""
    local_runner.create(request(tmp_path, "local"))
    real = beam_map.run
    monkeypatch.setattr(beam_map, "run", lambda *given, **named: real(*given, **named) and _stop(named["what"]))
    with pytest.raises(KeyboardInterrupt):
        beam_runner.create(request(tmp_path, "beam"), RUNNER)
    monkeypatch.setattr(beam_map, "run", real)
    monkeypatch.setattr(DocumentTokenizer, "documents", None)  # No text is tokenized again.
    beam_runner.create(request(tmp_path, "beam"), RUNNER)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")


def _stop(stage: str):
    assert stage == "tokenize"
    raise KeyboardInterrupt


def test_overwrite_replaces_an_earlier_set(tmp_path):
    local_runner.create(request(tmp_path, "local", random_seed=1))
    local_runner.create(request(tmp_path, "beam"))
    beam_runner.create(request(tmp_path, "beam", random_seed=1, overwrite=True), RUNNER)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")


def test_a_mistake_found_on_a_worker_is_the_same_sentence(tmp_path):
    made = request(tmp_path, "beam")
    (tmp_path / "corpus-1.txt").write_bytes(b"\xb0\xa1\n")
    with pytest.raises(
        InputError, match=r"^.*/corpus-1\.txt, line 1: expected UTF-8 text.*iconv -f CP949 .*> utf8\.txt$"
    ):
        beam_runner.create(made, RUNNER)
    assert not list((tmp_path / "beam").iterdir())


def test_relative_paths_are_the_same_records(tmp_path, monkeypatch):
    local_runner.create(request(tmp_path, "local"))
    monkeypatch.chdir(tmp_path)
    made = request(tmp_path, "beam", input_file="corpus-*.txt", output_file="beam/r", work_dir="scratch")
    beam_runner.create(made, RUNNER)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert not (tmp_path / "scratch").exists()
