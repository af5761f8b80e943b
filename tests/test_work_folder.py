"""The folder of a long run: resumed by the same run alone, and removed without anything that others put there."""

import pytest

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.work_folder import WorkFolder

NAMES = r"tokens-\d{5}"


def folder(path, run: str = "one", **options) -> WorkFolder:
    return WorkFolder(str(path), run, tool="create_pretraining_data", names=NAMES, **options)


def test_the_same_run_finds_its_files_again(tmp_path):
    first = folder(tmp_path / "work")
    (tmp_path / "work" / "tokens-00000").write_text("done")
    (tmp_path / "work" / "tokens-00001.tmp-77").write_text("half")
    first.release()
    folder(tmp_path / "work").release()
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["tokens-00000", "work.json"]


def test_another_run_is_refused_or_starts_afresh_on_request(tmp_path):
    folder(tmp_path / "work").release()
    (tmp_path / "work" / "tokens-00000").write_text("of one")
    with pytest.raises(InputError, match="holds the files of another run"):
        folder(tmp_path / "work", "two")
    folder(tmp_path / "work", "two", afresh=True).release()
    assert files.names_in(str(tmp_path / "work")) == ["work.json"]


def test_a_folder_that_the_run_made_goes_with_its_files(tmp_path):
    work = folder(tmp_path / "work")
    (tmp_path / "work" / "tokens-00000").write_text("done")
    work.remove()
    assert not (tmp_path / "work").exists()


def test_a_users_folder_and_files_stay(tmp_path, capsys):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.txt").write_text("mine")
    work = folder(tmp_path / "work")
    (tmp_path / "work" / "tokens-00000").write_text("done")
    work.remove()
    assert files.names_in(str(tmp_path / "work")) == ["notes.txt"]
    assert "notes.txt" in capsys.readouterr().err


def test_a_file_of_the_same_name_that_is_not_of_this_run_is_refused(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tokens-00000").write_text("mine")
    with pytest.raises(InputError, match="tokens-00000: already there"):
        folder(tmp_path / "work")
    assert (tmp_path / "work" / "tokens-00000").read_text() == "mine"
