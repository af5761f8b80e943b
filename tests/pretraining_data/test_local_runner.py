"""A whole corpus: the same bytes from any number of workers and after any crash, and sentences for what goes wrong."""

import errno
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.pretraining_data import corpus, local_runner, tfrecord
from kobert_tf2.pretraining_data.instances import Settings
from kobert_tf2.tokenization.tokenizer import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
LETTERS = "가나다라마바사아자차카타파하"
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
SETTINGS = Settings(max_seq_length=16, max_predictions_per_seq=3, dupe_factor=2)


def write_corpus(path, *, documents: int = 60, seed: int = 0) -> None:
    draw = random.Random(seed)
    word = lambda: "".join(draw.choices(LETTERS, k=draw.randint(1, 4)))  # noqa: E731
    sentence = lambda: " ".join(word() for _ in range(draw.randint(1, 6)))  # noqa: E731
    texts = ["\n".join(sentence() for _ in range(draw.randint(1, 9))) for _ in range(documents)]
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


@pytest.fixture
def text(tmp_path):
    write_corpus(tmp_path / "corpus.txt")
    return tmp_path / "corpus.txt"


def create(text, output, **changed) -> dict:
    """Blocks are small here, so that there are several."""
    return local_runner.create(
        local_runner.Request(
            **{
                "input_file": str(text),
                "output_file": str(output),
                "tokenizer": Tokenizer(VOCAB, pre_tokenizer="none"),
                "settings": SETTINGS,
                "num_shards": 3,
                "block_bytes": 800,
            }
            | changed
        )
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def expected(text, tmp_path) -> dict[str, bytes]:
    create(text, tmp_path / "expected/r")
    return contents(tmp_path / "expected")


# --- What comes out ---


def test_the_corpus_of_these_tests_has_several_blocks(text):
    assert len(list(corpus.blocks(str(text), 800))) >= 8


@pytest.mark.parametrize("num_workers", [2, 5])
def test_any_number_of_workers_makes_the_same_bytes(text, expected, tmp_path, num_workers):
    create(text, tmp_path / "again/r", num_workers=num_workers)
    assert contents(tmp_path / "again") == expected


def test_another_seed_makes_other_bytes(text, expected, tmp_path):
    create(text, tmp_path / "again/r", random_seed=-1)
    again = contents(tmp_path / "again")
    assert again.keys() == expected.keys()
    assert all(again[name] != expected[name] for name in expected)


def test_shards_are_of_even_size_and_nothing_else_stays(text, tmp_path):
    counts = create(text, tmp_path / "out/r", num_shards=7)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted([*tfrecord.shard_names("r", 7), "r.json"])
    shards = json.loads((tmp_path / "out/r.json").read_text())["shards"]
    sizes = [shard["instances"] for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == counts["instances"]
    for shard in shards:
        assert sum(1 for _ in tfrecord.read_examples(str(tmp_path / "out" / shard["name"]))) == shard["instances"]


def test_buckets_that_are_smaller_than_shards_change_the_order_only(text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("kobert_tf2.pretraining_data.stages._BUCKET_BYTES", 3000)
    create(text, tmp_path / "again/r")
    again = contents(tmp_path / "again")
    name = "r-00000-of-00003"
    assert again[name] != expected[name]
    instances = lambda folder: sorted(  # noqa: E731
        example for path in (tmp_path / folder).glob("r-*") for example in tfrecord.read_examples(str(path))
    )
    assert instances("again") == instances("expected")
    sizes = [shard["instances"] for shard in json.loads(again["r.json"])["shards"]]
    assert max(sizes) - min(sizes) <= 1


def test_named_files_are_the_shards_and_each_has_its_side_car(text, tmp_path):
    create(text, f"{tmp_path}/a.tfrecord, {tmp_path}/b.tfrecord", num_shards=1)
    assert tfrecord.read_sidecar([tmp_path / "b.tfrecord"])["max_seq_length"] == 16
    assert tfrecord.read_sidecar([tmp_path / "a.tfrecord"])["complete"]


def test_neighbours_in_the_corpus_are_not_neighbours_in_a_shard(text, expected, tmp_path):
    """Dealt out and shuffled: two instances of one block follow each other about as often as chance has it."""
    blocks = list(corpus.blocks(str(text), 800))
    assert len(blocks) > 5
    first = list(tfrecord.read_examples(str(tmp_path / "expected/r-00000-of-00003")))
    assert first != sorted(first)


def test_the_side_car_says_what_the_records_are(text, tmp_path):
    counts = create(text, tmp_path / "r", num_shards=1, compression="GZIP")
    car = tfrecord.read_sidecar(tmp_path / "r")
    assert car["counts"] == counts
    assert (car["max_seq_length"], car["max_predictions_per_seq"], car["vocab_size"]) == (16, 3, len(VOCAB))
    assert car["made_with"]["tokenizer"]["pre_tokenizer"] == "none"
    Tokenizer(VOCAB, pre_tokenizer="none").save_pretrained(str(tmp_path / "tokenizer"))
    assert car["vocab_sha256"] == files.sha256(str(tmp_path / "tokenizer/vocab.txt"))
    tfrecord.check(str(tmp_path / "r"), tfrecord.pretraining_features(max_seq_length=16, max_predictions_per_seq=3))


def test_the_counts_are_those_of_the_corpus(tmp_path):
    # A lone accent is no empty line, but this tokenizer takes it off.
    (tmp_path / "c").write_text("가 나\n\u0301\n다 힣\n\n\ufeff\n라\n", encoding="utf-8")
    tokenizer = Tokenizer(VOCAB, pre_tokenizer="none", strip_accents=True)
    counts = create(tmp_path / "c", tmp_path / "r", num_shards=1, tokenizer=tokenizer)
    said = {name: counts[name] for name in ("documents", "sentences", "tokens", "unknown_tokens")}
    assert said == {"documents": 2, "sentences": 3, "tokens": 5, "unknown_tokens": 1}
    assert counts["sentences_without_tokens"] == 1
    assert counts["unknown_share"] == 0.2


# --- A corpus that cannot teach ---

SENTENCES = ["사과 나무", "가 나 다", "한국 어 를", "방 가", "나무 가 하", "다 가 나"]


@pytest.mark.parametrize(
    ("content", "random_share", "said"),
    [
        ("\n".join(SENTENCES), 0.0, r"one document of 6 sentences, .*: put an empty line between documents"),
        ("\n\n\n" + "\n".join(SENTENCES) + "\n\n\u3000\n", 0.0, r"one document of 6 sentences"),
        ("\n".join(SENTENCES * 60), 0.0, r"one document of 360 sentences"),  # cut into blocks
        ("\n\n".join(SENTENCES), 1.0, r"6 sentences in 6 documents, so 100% of .* are random .* without an empty one"),
        (SENTENCES[1], 0.0, r"one sentence, whose two halves .* expected many documents, a sentence a line"),
    ],
)
def test_a_corpus_that_cannot_teach_is_reported_and_no_label_is_false(tmp_path, capsys, content, random_share, said):
    (tmp_path / "c").write_text(content, encoding="utf-8")
    counts = create(tmp_path / "c", tmp_path / "r", num_shards=1, block_bytes=200)
    assert counts["random_next_share"] == random_share
    assert counts["instances"] >= SETTINGS.dupe_factor
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    told = [line for line in warnings if "unknown" not in line]  # There are such pieces here, too.
    assert len(told) == 1
    assert re.search("next sentence prediction learns nothing", told[0])
    assert re.search(said.replace(": put", ".* put"), told[0]), told[0]


def test_of_one_token_there_is_no_pair(tmp_path):
    (tmp_path / "c").write_text("가\n", encoding="utf-8")
    with pytest.raises(InputError, match="gives 0 instances, too few"):
        create(tmp_path / "c", tmp_path / "r", num_shards=1)


def test_a_corpus_that_can_teach_is_not_warned_of(tmp_path, capsys):
    (tmp_path / "c").write_text("\n".join([*SENTENCES[:3], "", *SENTENCES[3:]]), encoding="utf-8")
    assert 0 < create(tmp_path / "c", tmp_path / "r", num_shards=1)["random_next_share"] < 0.9
    assert "next sentence prediction" not in capsys.readouterr().err


# --- Killed and started again ---


class Killed(BaseException):
    pass


def kill_at(number: int, monkeypatch) -> None:
    """Ends the run at its `number`-th rename: half of the times before, half after it."""
    move, moved = files.move, [0]

    def move_or_die(source, target):
        moved[0] += 1
        if moved[0] == number and number % 2:
            raise Killed
        move(source, target)
        if moved[0] == number:
            raise Killed

    monkeypatch.setattr(files, "move", move_or_die)


def test_killed_at_any_file_it_goes_on_to_the_same_bytes(text, expected, tmp_path, monkeypatch):
    killed = 0
    for number in range(1, 100):
        folder = tmp_path / f"killed-{number}"
        with monkeypatch.context() as patch:
            kill_at(number, patch)
            try:
                create(text, folder / "r")
            except Killed:
                killed += 1
        create(text, folder / "r")
        assert contents(folder) == expected, f"killed at rename {number}"
        if killed < number:
            break
    assert killed > 20


def test_what_is_finished_is_not_made_again(text, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local_runner.Ledger, "finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            create(text, tmp_path / "r")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("r-*")}
    for name in ("block_records", "write_shard", "token_arrays"):
        monkeypatch.setattr(f"kobert_tf2.pretraining_data.stages.{name}", None)
    create(text, tmp_path / "r")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("r-*")} == before
    assert len(before) == 3


@pytest.mark.parametrize("pattern", ["r-00001-of-00003", "r.work/tokens-00002", "r.work/records-00003"])
def test_what_was_damaged_in_between_is_made_again(text, expected, tmp_path, monkeypatch, pattern):
    folder = tmp_path / "again"
    with monkeypatch.context() as patch:
        kill_at(2 + 2 * len(list(corpus.blocks(str(text), 800))) + 4, patch)
        with pytest.raises(Killed):
            create(text, folder / "r")
    damaged = folder / pattern
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    create(text, folder / "r")
    assert contents(folder) == expected


def test_a_shard_that_is_lost_or_damaged_after_the_end_is_made_again(text, expected, tmp_path):
    folder = tmp_path / "expected"
    (folder / "r-00000-of-00003").unlink()
    (folder / "r-00002-of-00003").write_bytes(b"flipped")
    create(text, folder / "r")
    assert contents(folder) == expected
    assert create(text, folder / "r")["instances"] > 0  # nothing left to do


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"random_seed": 7}, "random_seed was 12345, is 7"),
        (
            {"settings": Settings(max_seq_length=16, max_predictions_per_seq=3, dupe_factor=3)},
            "dupe_factor was 2, is 3",
        ),
        ({"compression": "GZIP"}, "compression was , is GZIP"),
        ({"tokenizer": Tokenizer([*VOCAB, "거"], pre_tokenizer="none")}, "tokenizer_fingerprint was"),
    ],
)
def test_other_flags_are_refused_and_named(text, expected, tmp_path, changed, said):
    with pytest.raises(InputError, match=rf"r\.json: these records were begun with other flags \({said}"):
        create(text, tmp_path / "expected/r", **changed)
    assert contents(tmp_path / "expected") == expected


def test_another_corpus_is_refused_and_overwrite_starts_afresh(text, expected, tmp_path):
    write_corpus(text, seed=1)
    with pytest.raises(InputError, match=r"input_file was {'corpus\.txt': '\d+ bytes, checksum"):
        create(text, tmp_path / "expected/r")
    create(text, tmp_path / "expected/r", overwrite=True)
    assert contents(tmp_path / "expected").keys() == expected.keys()


def test_files_of_someone_else_are_not_touched(text, tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(InputError, match="/r: already there"):
        create(text, tmp_path / "r", num_shards=1)
    (tmp_path / "q.json").write_text("{}")
    with pytest.raises(InputError, match=r"q\.json: expected the side-car of an earlier run"):
        create(text, tmp_path / "q", num_shards=1)
    assert (tmp_path / "r").read_text() == "mine"


def test_overwrite_replaces_what_a_side_car_names_and_nothing_else(text, expected, tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(InputError, match="/r: already there, and no side-car says"):
        create(text, tmp_path / "r", num_shards=1, overwrite=True)
    (tmp_path / "q.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"q\.json: expected the side-car of an earlier run"):
        create(text, tmp_path / "q", num_shards=1, overwrite=True)
    assert (tmp_path / "r").read_text() == "mine"
    assert (tmp_path / "q.json").read_text() == '{"mine": 1}'
    folder = tmp_path / "expected"
    (folder / "r-notes").write_text("mine")
    create(text, folder / "r", num_shards=2, overwrite=True)
    assert sorted(contents(folder)) == ["r-00000-of-00002", "r-00001-of-00002", "r-notes", "r.json"]
    assert create(text, folder / "r", num_shards=2)["instances"] > 0  # Whole, and what the side-car says.


def test_an_earlier_set_stays_until_the_new_one_is_whole(text, expected, tmp_path, monkeypatch):
    folder = tmp_path / "expected"
    for stage in ("token_arrays", "block_records", "write_shard"):
        with monkeypatch.context() as patch:
            patch.setattr(f"kobert_tf2.pretraining_data.stages.{stage}", None)
            with pytest.raises(TypeError):
                create(text, folder / "r", random_seed=3, overwrite=True)
        assert {name: content for name, content in contents_of_files(folder).items() if name in expected} == expected
    create(text, folder / "r", random_seed=3, overwrite=True)
    assert contents(folder).keys() == expected.keys()
    assert contents(folder) != expected
    create(text, folder / "r", overwrite=True)
    assert contents(folder) == expected


def contents_of_files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_set_that_a_killed_overwrite_left_half_exchanged_mends_itself(text, expected, tmp_path, monkeypatch):
    folder = tmp_path / "expected"
    create(text, tmp_path / "other/r", random_seed=3)
    for number in range(1, 8):
        create(text, folder / "r", overwrite=True)
        moved = []

        def move_or_die(source, target, real=files.move, number=number, moved=moved):
            if local_runner.STAGING_FOLDER in source and local_runner.STAGING_FOLDER not in target:
                moved.append(target)
                if len(moved) == number:
                    raise Killed
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(files, "move", move_or_die)
            try:
                create(text, folder / "r", random_seed=3, overwrite=True)
            except Killed:
                with pytest.raises(InputError):
                    create(text, folder / "r", random_seed=4)
                create(text, folder / "r", random_seed=3, overwrite=len(moved) == 1)
        assert contents(folder) == contents(tmp_path / "other"), number


def test_a_folder_for_the_work_keeps_what_others_have_in_it(text, expected, tmp_path, capfd):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("notes.txt", "corpus.tmp-7", "tokens-1"):
        (scratch / name).write_text("mine")
    create(text, tmp_path / "again/r", work_dir=str(scratch))
    assert contents(tmp_path / "again") == expected
    assert set(contents(scratch).values()) == {b"mine"}
    assert len(contents(scratch)) == 3
    assert "scratch: stays, for it holds other files: corpus.tmp-7, notes.txt, tokens-1" in capfd.readouterr().err
    create(text, tmp_path / "again/r", work_dir=str(scratch))  # Finished: nothing is removed then, either.
    assert len(contents(scratch)) == 3
    (scratch / "tokens-00000").write_text("mine")
    with pytest.raises(InputError, match="scratch/tokens-00000: already there, and not of this run"):
        create(text, tmp_path / "more/r", work_dir=str(scratch))
    assert (scratch / "tokens-00000").read_text() == "mine"


def test_a_folder_for_the_work_of_another_run_is_refused(text, expected, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local_runner.Ledger, "finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            create(text, tmp_path / "one/r", work_dir=str(tmp_path / "work"))
    with pytest.raises(InputError, match="work: holds the files of another run"):
        create(text, tmp_path / "two/r", work_dir=str(tmp_path / "work"))
    create(text, tmp_path / "one/r", work_dir=str(tmp_path / "work"))
    assert contents(tmp_path / "one") == expected
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("work_dir", [".", "data", "link"])
def test_a_folder_for_the_work_holds_no_corpus(tmp_path, monkeypatch, work_dir):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    write_corpus(tmp_path / "data/corpus.txt")
    with pytest.raises(InputError, match="it holds an input of the same run"):
        create("data/corpus.txt", "r", work_dir=work_dir)
    assert contents(tmp_path / "data").keys() == {"corpus.txt"}


def test_the_corpus_is_never_its_own_output(text, tmp_path):
    before = text.read_bytes()
    (tmp_path / "link").symlink_to(text)
    for output in (text, tmp_path / "link", f"{tmp_path}/./corpus.txt"):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="it is an input of the same run"):
                create(text, output, num_shards=1, overwrite=overwrite)
    assert text.read_bytes() == before


def test_a_second_run_of_the_same_output_is_refused_while_the_first_works(text, tmp_path):
    script = (
        "import sys; from kobert_tf2 import outputs\n"
        "lock = outputs.FolderLock(sys.argv[1], make=True); print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    first = subprocess.Popen([sys.executable, "-c", script, f"{tmp_path}/r.work"], stdin=pipe, stdout=pipe, text=True)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=r"r\.work: another run is writing into this folder"):
        create(text, tmp_path / "r")
    first.kill()
    first.communicate()
    create(text, tmp_path / "r")


def test_a_full_disk_leaves_the_shards_that_are_finished(text, expected, tmp_path, monkeypatch):
    folder = tmp_path / "again"
    with monkeypatch.context() as patch:
        real = files.open_for_writing

        def full(path, mode):
            if "r-00002" in path:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, mode)

        patch.setattr(files, "open_for_writing", full)
        with pytest.raises(OSError, match=r"No space left on device: .*r-00002-of-00003"):
            create(text, folder / "r")
    assert (folder / "r-00000-of-00003").read_bytes() == expected["r-00000-of-00003"]
    with pytest.raises(InputError, match="not complete"):
        tfrecord.read_sidecar(f"{folder}/r-*")
    create(text, folder / "r")
    assert contents(folder) == expected


def run_tool(*flags: str, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools/create_pretraining_data.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, **more)


def test_a_process_killed_outright_leaves_no_workers_and_goes_on(tmp_path):
    write_corpus(tmp_path / "big.txt", documents=8_000)
    Tokenizer(VOCAB, pre_tokenizer="none").save_pretrained(str(tmp_path / "tokenizer"))
    flags = [
        f"--input_file={tmp_path}/big.txt",
        f"--vocab_file={tmp_path}/tokenizer",
        "--max_seq_length=16",
        "--max_predictions_per_seq=3",
        "--dupe_factor=1",
        "--num_workers=2",
        "--num_shards=2",
    ]
    command = [sys.executable, str(ROOT / "tools/create_pretraining_data.py"), *flags, f"--output_file={tmp_path}/r"]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("r.work/tokens-0000?")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while _alive_in_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive_in_session(process.pid)
    assert not list(tmp_path.glob("r-*"))
    assert run_tool(*flags, f"--output_file={tmp_path}/r").returncode == 0
    assert run_tool(*flags, f"--output_file={tmp_path}/q").returncode == 0
    for shard in ("00000-of-00002", "00001-of-00002"):
        assert (tmp_path / f"r-{shard}").read_bytes() == (tmp_path / f"q-{shard}").read_bytes()


def _alive_in_session(session: int) -> list[int]:
    alive = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            alive.append(int(entry.parent.name))
    return alive


def test_a_worker_that_dies_is_reported_and_what_was_made_stays(text, expected, tmp_path, monkeypatch):
    def dies(*_):
        raise BrokenProcessPool

    folder = tmp_path / "again"
    with monkeypatch.context() as patch:
        patch.setattr(local_runner, "_make_records", dies)
        with pytest.raises(ChildProcessError, match="a worker process died"):
            create(text, folder / "r", num_workers=2)
    assert list(folder.glob("r.work/tokens-*"))
    create(text, folder / "r", num_workers=2)
    assert contents(folder) == expected


# --- The tool ---


@pytest.fixture
def flags(text, tmp_path) -> list[str]:
    Tokenizer(VOCAB, pre_tokenizer="none").save_pretrained(str(tmp_path / "tokenizer"))
    return [
        f"--input_file={text}",
        f"--output_file={tmp_path}/r",
        f"--vocab_file={tmp_path}/tokenizer",
        "--num_workers=1",
    ]


def test_the_tool_prints_its_counts_and_progress(flags, tmp_path):
    done = run_tool(*flags, "--dupe_factor=1")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["instances"] == tfrecord.read_sidecar(tmp_path / "r")["counts"]["instances"] > 0
    assert "making instances: 60 documents" in done.stderr


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--pre_tokenizer=mecab", "--pre_tokenizer is 'mecab', but .*tokenizer_config.json says 'none'"),
        ("--input_file=/nowhere/*.txt", r"/nowhere/\*\.txt: no file matches"),
        ("--num_shards=5000", "too few for 5000 output files"),
        ("--mask_unit=morpheme", "knows no morphemes"),
        ("--do_whole_word_mask --mask_unit=token", "contradict each other"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_no_records(flags, tmp_path, flag, said):
    done = run_tool(*flags, *flag.split())
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("r*"))


def test_a_line_that_is_not_utf8_is_reported_with_its_number(flags, text):
    content = text.read_bytes().split(b"\n")
    content[20] = "한글".encode("cp949")
    text.write_bytes(b"\n".join(content))
    done = run_tool(*flags)
    assert done.returncode == 1
    assert "corpus.txt, line 21: expected UTF-8 text" in done.stderr
    assert not list(text.parent.glob("r*"))


@pytest.mark.parametrize("content", ["", "\n \n\n"])
def test_an_empty_corpus_is_reported(flags, text, content):
    text.write_text(content)
    done = run_tool(*flags, "--num_workers=2")
    assert done.returncode == 1
    assert "expected sentences, but there is none" in done.stderr
    assert not list(text.parent.glob("r*"))
