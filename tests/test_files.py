"""Files are read with the line that is wrong in the message, and written whole or not at all."""

import os

import pytest

from kobert_tf2 import files
from kobert_tf2.errors import InputError


def write(path, content: bytes):
    path.write_bytes(content)
    return str(path)


def test_lines_end_at_lf_and_crlf_alone_and_a_bom_is_passed_over(tmp_path):
    path = write(tmp_path / "a.txt", "\ufeff가나\r\n다\u2028라\x85마\n\n끝".encode())
    assert list(files.read_lines(path)) == ["가나", "다\u2028라\x85마", "", "끝"]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = write(tmp_path / "a.txt", "가\n".encode() + "나다".encode("cp949") + b"\n")
    with pytest.raises(InputError, match=r"a\.txt, line 2: expected UTF-8 text, but byte 1 of the line is 0xb3"):
        list(files.read_lines(path))
    with pytest.raises(InputError, match=r"a\.txt, line 2: expected UTF-8"):
        files.read_text(path)


def test_missing_file_folder_and_empty_glob_are_sentences(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        files.read_text(str(tmp_path / "none"))
    with pytest.raises(InputError, match="this is a folder"):
        files.read_text(str(tmp_path))
    with pytest.raises(InputError, match=r"x\*\.txt: no file matches"):
        files.match(str(tmp_path / "x*.txt"))
    with pytest.raises(InputError, match="at least one input file"):
        files.match(" , ")


def test_globs_are_sorted_and_each_file_comes_once(tmp_path):
    for name in ("b.txt", "a.txt", "c.log"):
        write(tmp_path / name, b"")
    found = files.match(f"{tmp_path}/*.txt,{tmp_path}/a.*,{tmp_path}/c.log")
    assert [os.path.basename(path) for path in found] == ["a.txt", "b.txt", "c.log"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b'{"a":\n 1,}', "line 2, column 4: not JSON")]
)
def test_json_that_is_not_json_is_a_sentence(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        files.read_json(write(tmp_path / "a.json", content))


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with files.whole_file(path) as file:
        file.write("처음")
        assert not path.exists()
    with pytest.raises(UnicodeEncodeError), files.whole_file(path) as file:
        file.write("반쪽\ud800")
    assert path.read_text(encoding="utf-8") == "처음"
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model"

    def fill(text, *, fail=False, **options):
        with files.whole_folder(path, **options) as folder:
            os.makedirs(f"{folder}/assets", exist_ok=True)
            with open(f"{folder}/assets/a.txt", "w") as file:
                file.write(text)
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fill("반쪽", fail=True)
    assert os.listdir(tmp_path) == []
    fill("one")
    with pytest.raises(InputError, match="already there"):
        fill("two")
    (path / "kept.txt").write_text("mine")
    fill("three", overwrite=True)
    assert (path / "assets" / "a.txt").read_text() == "three"
    assert (path / "kept.txt").exists()
    assert os.listdir(tmp_path) == ["model"]


def test_hangul_in_json_stays_readable(tmp_path):
    files.write_json(str(tmp_path / "a.json"), {"답": "서울"})
    assert "서울" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert files.read_json(str(tmp_path / "a.json")) == {"답": "서울"}
