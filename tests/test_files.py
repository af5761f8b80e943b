"""Files are read with the line that is wrong in the message, and written whole or not at all."""

import gzip
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


TEXT = "첫 줄이다\r\n둘째 줄, 셋째 줄\r\nplain line\r\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), "begins with FF FE: it is UTF-16; .* iconv -f UTF-16 -t UTF-8 "),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "begins with FE FF: it is UTF-16; .* iconv -f UTF-16 -t UTF-8 "),
        (b"\xff\xfe\x00\x00" + TEXT.encode("utf-32-le"), "begins with FF FE 00 00: .* iconv -f UTF-32 "),
        (TEXT.encode("utf-16-le"), "bytes are NUL: it is UTF-16LE; .* iconv -f UTF-16LE -t UTF-8 "),
        (TEXT.encode("utf-16-be"), "bytes are NUL: it is UTF-16BE; .* iconv -f UTF-16BE -t UTF-8 "),
        ("[1, 2]\n".encode("utf-16-le"), "iconv -f UTF-16LE "),
        ("쥐꼬리\n뱀꼬리 \n".encode("utf-16-le"), "expected UTF-8 .* iconv -f UTF-16LE "),
        ("쥐가\n쥐꼬리 \n".encode("utf-16-le"), "iconv -f UTF-16LE "),
        (TEXT.encode("cp949"), "line 1: expected UTF-8 text, .* read as CP949; .* iconv -f CP949 -t UTF-8 "),
        (
            TEXT.encode() + TEXT.encode("cp949"),
            "line 4: expected UTF-8 text, .* other lines are UTF-8, so these bytes are",
        ),
        (b"ok\n" + b"\xff\xff\xff\n", "line 2: expected UTF-8 text, .*for example: iconv -f CP949"),
    ],
)
@pytest.mark.parametrize("read", [lambda path: list(files.read_lines(path)), files.read_text, files.read_json])
def test_a_file_of_another_encoding_is_named_with_its_conversion(tmp_path, read, content, said):
    path = write(tmp_path / "내 파일.txt", content)
    with pytest.raises(InputError, match=said) as error:
        read(path)
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress("가\n".encode(), mtime=0), r"is compressed \(gzip\): gunzip it first"),
        (b"PK\x03\x04\x14\x00\x06\x00", r"is a ZIP archive or an Office document \(xlsx, docx, hwpx\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office or HWP document: save its content as UTF-8 text"),
        (b"%PDF-1.7\n", "is a PDF document"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, content, said):
    path = write(tmp_path / "a.txt", content)
    for read in (lambda path: list(files.read_lines(path)), files.read_text):
        with pytest.raises(InputError, match=f"expected UTF-8 text, but the file {said}"):
            read(path)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "text",
    ["가\x00나\n", "\x00", "hello world, it is\x00 me\n" * 9, "a\x00b\x00c 가나다 라마바 사아자 차카타파하\n" * 3],
)
def test_a_nul_in_text_does_not_make_it_utf16(tmp_path, text, mark):
    path = write(tmp_path / "a.txt", (mark + text).encode())
    assert files.read_text(path) == text
    assert "\n".join(files.read_lines(path)) == text.removesuffix("\n")


def test_bad_lines_are_counted_and_ten_listed():
    bad_lines = files.BadLines("a.tsv")
    bad_lines.raise_if_any()
    bad_lines.add(3, "too short", "mend it")
    with pytest.raises(InputError, match=r"^a\.tsv, line 3: too short; mend it$"):
        bad_lines.raise_if_any()
    for number in range(4, 1500):
        bad_lines.add(number, "too long", "no")
    with pytest.raises(InputError) as error:
        bad_lines.raise_if_any()
    assert str(error.value).startswith("a.tsv: 1,497 lines are wrong: line 3: too short; line 4: too long; ")
    assert str(error.value).endswith("line 12: too long; and 1,487 more; mend it")


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


def test_a_folder_whose_name_is_a_glob_has_another_name_for_tensorflow(tmp_path):
    """TensorFlow found no checkpoint in a folder [1], so a training there could not go on."""
    plain, odd = tmp_path / "plain [1].ckpt", tmp_path / "a [1] *?" / "state"
    assert files.without_glob(str(plain)) == str(plain)
    assert files.without_glob("gs://bucket/[1]/state") == "gs://bucket/[1]/state"
    odd.parent.mkdir()
    odd.write_text("first")
    named = files.without_glob(str(odd))
    assert not set("[*?") & set(named)
    with open(named) as file:
        assert file.read() == "first"
    odd.parent.rename(tmp_path / "gone")
    odd.parent.mkdir()
    odd.write_text("second")
    with open(files.without_glob(str(odd))) as file:
        assert file.read() == "second"
