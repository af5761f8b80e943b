"""Flag files: where they are found, whose paths they hold, and what is said of those that cannot be read."""

import pytest
from paths import ROOT

from kobert_tf2 import flag_files
from kobert_tf2.errors import InputError


def write(path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.flags")), ids=lambda path: path.stem)
def test_a_shipped_file_is_found_by_its_name_from_anywhere_and_so_is_what_it_names(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name, by_path = (flag_files.expand([f"--flagfile={name}"]) for name in (path.stem, path))
    assert by_name == by_path
    for flag in by_name:
        if flag.startswith("--bert_config_file="):
            assert (ROOT / "configs").samefile(flag.partition("=")[2].rpartition("/")[0])


def test_flags_keep_their_order_and_comments_are_passed_over(tmp_path):
    path = write(tmp_path / "a.flags", "# --no", "", "  --seed=3  ", "// --no", "--do_train")
    assert flag_files.expand(["--seed=1", "--flagfile", path, "--seed=5"]) == [
        "--seed=1",
        "--seed=3",
        "--do_train",
        "--seed=5",
    ]
    assert flag_files.expand(["--", f"--flagfile={path}"]) == ["--", f"--flagfile={path}"]


def test_a_relative_path_is_the_flag_files_then_the_working_directorys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "flags" / "own.txt", "x")
    write(tmp_path / "here.txt", "x")
    path = write(
        tmp_path / "flags" / "a.flags",
        "--input_file=own.txt,here.txt,*.txt,gs://b/c",
        "--output_dir=out",
        "--init_checkpoint=klue/bert-base",
        "--metric=own.txt",
    )
    folder = tmp_path / "flags"
    assert flag_files.expand([f"--flagfile={path}"]) == [
        f"--input_file={folder}/own.txt,here.txt,{folder}/*.txt,gs://b/c",
        f"--output_dir={folder}/out",
        "--init_checkpoint=klue/bert-base",
        "--metric=own.txt",
    ]


def test_a_file_within_a_file_is_found_beside_it_and_a_circle_is_reported(tmp_path):
    write(tmp_path / "b" / "inner.flags", "--seed=2")
    outer = write(tmp_path / "b" / "outer.flags", "--flagfile=inner.flags", "--do_eval")
    assert flag_files.expand([f"--flagfile={outer}"]) == ["--seed=2", "--do_eval"]
    write(tmp_path / "b" / "inner.flags", "--flagfile=outer.flags")
    with pytest.raises(InputError, match="includes itself"):
        flag_files.expand([f"--flagfile={outer}"])


def test_an_unknown_name_is_reported_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"--flagfile=tinny: .* did you mean 'tiny'\?"):
        flag_files.expand(["--flagfile=tinny"])
    (tmp_path / "x.flags").write_bytes(b"--a=\xff\n")
    with pytest.raises(InputError, match="UTF-8"):
        flag_files.expand([f"--flagfile={tmp_path}/x.flags"])
