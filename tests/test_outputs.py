"""No run destroys what it did not make: inputs under any name, other people's files, devices; one run at a time."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from bad_json import BAD_JSON

from kobert_tf2 import files, outputs
from kobert_tf2.errors import InputError


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus, and other names for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "sub").mkdir(parents=True)
    path = tmp_path / "data" / "corpus.txt"
    path.write_text("가나다\n", encoding="utf-8")
    os.symlink(path, tmp_path / "link.txt")
    os.symlink("link.txt", tmp_path / "link_to_link.txt")
    os.symlink(tmp_path / "data", tmp_path / "linked_data")
    os.link(path, tmp_path / "hard.txt")
    return path


OTHER_NAMES = (
    "data/corpus.txt",
    "./data/corpus.txt",
    "data/sub/../corpus.txt",
    "data//corpus.txt",
    "link.txt",
    "link_to_link.txt",
    "linked_data/corpus.txt",
    "hard.txt",
)


@pytest.mark.parametrize("output", OTHER_NAMES)
@pytest.mark.parametrize("source", [*OTHER_NAMES, "data/*.txt", "none.txt, data/c*", "data/corpus.txt,hard.txt"])
def test_an_input_is_no_output_whatever_both_are_called(corpus, output, source):
    with pytest.raises(InputError, match=r"expected --report to be another path, .*input of the same run"):
        outputs.refuse_inputs({"report": output}, {"data_file": source})


def test_a_glob_that_would_take_in_the_output_counts_before_the_output_is_there(corpus):
    with pytest.raises(InputError, match=r"input of the same run \(--input_file=data/\*\.txt\)"):
        outputs.refuse_inputs({"output_file": "data/new.txt"}, {"input_file": "data/*.txt"})
    outputs.refuse_inputs({"output_file": "data/sub/new.txt"}, {"input_file": "data/*.txt"})
    outputs.refuse_inputs({"output_file": "data/new.tfrecord"}, {"input_file": "data/*.txt"})


def test_a_folder_that_is_replaced_holds_no_input(corpus):
    for folder in (".", "data", "linked_data", "data/sub/.."):
        with pytest.raises(InputError, match="it holds an input of the same run"):
            outputs.refuse_inputs({}, {"input_file": "hard.txt,data/corpus.txt"}, replaced={"work_dir": folder})
    outputs.refuse_inputs({}, {"input_file": "data/corpus.txt"}, replaced={"work_dir": "data/sub"})


def test_a_checkpoint_is_an_input_by_its_prefix_and_a_hub_id_is_no_file(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "model.ckpt.index").write_bytes(b"x")
    prefix = f"{tmp_path}/bert/model.ckpt"
    with pytest.raises(InputError, match="it holds an input of the same run"):
        outputs.refuse_inputs({}, {"input": prefix}, replaced={"output": f"{tmp_path}/bert"})
    outputs.refuse_inputs({"output": f"{tmp_path}/bert"}, {"input": "klue/bert-base", "vocab_file": None})


def test_two_outputs_are_two_files(corpus):
    with pytest.raises(InputError, match="--josa_report to be a path of its own, but --report is the same"):
        outputs.refuse_inputs({"report": "a.json", "josa_report": "./a.json"}, {})
    with pytest.raises(InputError, match="--output_file is the same"):
        outputs.refuse_inputs({"output_file": ["link.txt", "hard.txt"]}, {})
    outputs.refuse_inputs({"report": "/dev/stdout", "josa_report": "/dev/stdout"}, {"data_file": "/dev/stdin"})


def test_thousands_of_outputs_take_no_time(tmp_path):
    (tmp_path / "in.txt").write_text("x")
    names = [f"{tmp_path}/out-{number:05d}" for number in range(20_000)]
    began = time.monotonic()
    outputs.refuse_inputs({"output_file": names}, {"input_file": f"{tmp_path}/*.txt"})
    assert time.monotonic() - began < 20


def is_mine(path: str) -> bool:
    return files.read_text(path).startswith("mine")


def test_a_file_is_replaced_only_if_it_is_ours_and_asked_for(tmp_path):
    path = tmp_path / "out.txt"
    check = lambda **how: outputs.check_file(path, what="a file of ours", is_ours=is_mine, **how)  # noqa: E731
    check()
    path.write_bytes(b"")
    check(overwrite=False)
    path.write_text("mine")
    check()
    with pytest.raises(InputError, match="replace it with --overwrite"):
        check(overwrite=False)
    path.chmod(0o444)
    with pytest.raises(InputError, match="read-only"):
        check()
    path.chmod(0o644)
    for content in (b"somebody else's", b"\xff\xfe not even text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="already there, and it is not a file of ours"):
            check(overwrite=True)
    with pytest.raises(InputError, match="this is a folder"):
        outputs.check_file(tmp_path, what="a file of ours", is_ours=is_mine)


def test_a_folder_keeps_what_does_not_matter_and_is_refused_for_what_does(tmp_path):
    check = lambda: outputs.check_folder(tmp_path, ("a.txt", "step-*"), what="a run", is_ours=lambda _: ours)  # noqa: E731
    ours = False
    (tmp_path / "notes.txt").write_text("theirs")
    (tmp_path / "a.txt").write_bytes(b"")
    check()
    (tmp_path / "step-1").mkdir()
    with pytest.raises(InputError, match=r"step-1: already there, and not of a run"):
        check()
    ours = True
    check()
    with pytest.raises(InputError, match="expected a folder, but this is a file"):
        outputs.check_folder(f"{tmp_path}/notes.txt", (), what="a run", is_ours=lambda _: True)


def test_the_sign_is_found_in_json_and_nowhere_else(tmp_path):
    path = str(tmp_path / "run.json")
    assert not outputs.is_signed(path)
    for content in ("[]", "{}", '"kobert_tf2"', "not json"):
        (tmp_path / "run.json").write_text(content)
        assert not outputs.is_signed(path)
    files.write_json(path, outputs.signed({"step": 3}, "pretrain"))
    assert outputs.is_signed(path)
    assert files.read_json(path)["step"] == 3


def test_a_folder_goes_file_by_file_and_stays_for_the_sake_of_others(tmp_path):
    folder = tmp_path / "step"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/theirs"):
        (folder / name).write_text("x")
    assert outputs.files_in(str(folder)) == ["a", "deep/b", "deep/theirs"]
    assert not outputs.remove_files(str(folder), ["a", "deep/b", "not there"])
    assert outputs.files_in(str(folder)) == ["deep/theirs"]
    assert outputs.remove_files(str(folder), ["deep/theirs"])
    assert not folder.exists()


# --- Links and devices ---


def test_a_link_is_written_at_its_target(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target.txt"
    for content in ("new", "again"):  # The target is missing, then there.
        link = tmp_path / "link.txt"
        if not link.is_symlink():
            link.symlink_to(target)
        with files.whole_file(link) as file:
            file.write(content)
        assert link.is_symlink()
        assert target.read_text() == content
    assert os.listdir(tmp_path / "there") == ["target.txt"]


def test_what_was_private_stays_private(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o600)
    with files.whole_file(path) as file:
        file.write("new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_device_and_a_pipe_are_written_to_and_stay(tmp_path):
    device = os.stat("/dev/null")
    with files.whole_file("/dev/null") as file:
        file.write("gone")
    assert os.stat("/dev/null").st_rdev == device.st_rdev
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text("utf-8")))
    reader.start()
    with files.whole_file(pipe) as file:
        file.write("가나다")
    reader.join()
    assert read == ["가나다"]
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_shared_with_what_is_printed(tmp_path, name, kind):
    """Also where it is a file: that one is neither replaced nor written over from its beginning."""
    os.symlink("/dev/stdout", tmp_path / "link")
    script = (
        "import sys; from kobert_tf2 import files\n"
        "print('before')\n"
        "with files.whole_file(sys.argv[1]) as file: file.write('report\\n')\n"
        "print('after')"
    )
    command = [sys.executable, "-c", script, name]
    with open(tmp_path / "out.txt", "w") as out:
        target = subprocess.PIPE if kind == "pipe" else out
        result = subprocess.run(command, stdout=target, text=True, check=True, cwd=tmp_path)
    said = result.stdout if kind == "pipe" else (tmp_path / "out.txt").read_text()
    assert said == "before\nreport\nafter\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "out.txt"]


# --- One at a time ---

HOLD = "import sys; from kobert_tf2 import outputs\nlock = outputs.FolderLock(sys.argv[1])\nprint('held', flush=True)\n"


def other_process(folder, *, waits: bool) -> subprocess.Popen:
    script = HOLD + ("sys.stdin.read()" if waits else "")
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script, folder], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_second_run_is_refused_and_a_kill_leaves_no_lock(tmp_path):
    first = other_process(tmp_path, waits=True)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another run is writing into this folder"):
        outputs.FolderLock(tmp_path)
    first.kill()
    first.communicate()
    with outputs.FolderLock(tmp_path), outputs.FolderLock(f"{tmp_path}/../{tmp_path.name}"):
        assert "another run is writing" in other_process(tmp_path, waits=False).communicate()[1]
    assert other_process(tmp_path, waits=False).communicate()[0] == "held\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_is_still_to_be_made_is_held_as_well(tmp_path, exists):
    target = tmp_path / "made"
    if exists:
        target.mkdir()
    script = (
        "import sys; from kobert_tf2 import outputs\n"
        "with outputs.only_run(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    first = subprocess.Popen([sys.executable, "-c", script, target], stdin=pipe, stdout=pipe, text=True)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another run is writing into this folder"), outputs.only_run(str(target)):
        pass
    first.kill()
    first.communicate()
    with outputs.only_run(f"{target}/"), files.whole_folder(target, overwrite=True) as folder:
        files.write_json(f"{folder}/a.json", {})
    assert os.listdir(tmp_path) == ["made"]  # Nothing is left of the lock, not even of the killed one.


# --- JSON from outside ---


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_nobody_should_write_is_one_short_sentence(tmp_path, name):
    (tmp_path / "a.json").write_text(BAD_JSON[name])
    with pytest.raises(InputError) as caught:
        files.read_json(str(tmp_path / "a.json"))
    assert str(caught.value).startswith(f"{tmp_path}/a.json")
    assert len(str(caught.value)) < len(str(tmp_path)) + 150
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [([], "a JSON list"), ("x", "a JSON string"), (None, "null"), (3, "a whole number"), (True, "true or false")],
)
def test_json_of_another_kind_is_named(tmp_path, content, found):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"a\.json: expected a JSON object, but found {found}"):
        files.read_json(str(tmp_path / "a.json"), dict)


def test_numbers_of_64_bits_are_read(tmp_path):
    values = {"a": [2**64 - 1, -(2**63), 1.5e300, -0.0, 0]}
    files.write_json(str(tmp_path / "a.json"), values)
    assert files.read_json(str(tmp_path / "a.json"), dict) == values
