"""Feeds damaged files to everything that reads files, for as long as it is given.

    python tests/fuzz/run.py --seconds=3600                  all kinds of files in turn
    python tests/fuzz/run.py --seconds=60 --only=TF1         one of them

Whatever stands in a file, the answer is a result or an `InputError` in one sentence that names the file, within 5
seconds of processor time and 1 GiB of memory. What breaks that is written to --finds as TARGET/FILE/NAME with the
traceback beside it, one file for each place in the code; mend the cause, then move the file into tests/fuzz/finds,
where test_finds.py reads it in every test run. Ends with status 1 if there was a find.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from fuzz_mutations import mutated
from fuzz_targets import TARGETS, Target, judge

_SECONDS = 5
_BYTES = 1 << 30
_CASES = 150
_SECONDS_OF_A_TURN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; by default another one each time")
    parser.add_argument("--only", action="append", choices=list(TARGETS))
    parser.add_argument("--finds", type=pathlib.Path, default=pathlib.Path("fuzz_finds"))
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    _import_what_is_slow()
    names = [name for name in arguments.only or TARGETS if not TARGETS[name].needs or _installed(TARGETS[name].needs)]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        folders = {name: pathlib.Path(work) / str(number) for number, name in enumerate(names)}
        for name, folder in folders.items():
            folder.mkdir()
            _in_a_fork(lambda name=name, folder=folder: TARGETS[name].make(folder), f"making {name}")
        found = _fuzz(folders, arguments, seed)
    sys.exit(1 if found else 0)


def _fuzz(folders: dict[str, pathlib.Path], arguments: argparse.Namespace, seed: int) -> int:
    """Turns of each target until the time is over; the number of different finds."""
    began, cases, turns = time.monotonic(), dict.fromkeys(folders, 0), 0
    while time.monotonic() - began < arguments.seconds:
        for name, folder in folders.items():
            first = seed + turns * _CASES
            cases[name] += _turn(name, folder, arguments.finds, first)
            turns += 1
            if time.monotonic() - began >= arguments.seconds:
                break
    for name, count in cases.items():
        finds = sorted(arguments.finds.glob(f"{name}/*/*.txt"))
        print(f"{name}: {count:,} files, {len(finds)} finds", *(f"    {path}" for path in finds), sep="\n")
    return len(list(arguments.finds.glob("*/*/*.txt")))


def _turn(name: str, folder: pathlib.Path, finds: pathlib.Path, seed: int) -> int:
    """Some cases in a fork, which a case may end; how many there were."""
    process = os.fork()
    if process == 0:
        _quiet()
        _cases(name, folder, finds, seed)
        os._exit(0)
    deadline, done = time.monotonic() + 30, 0
    current = folder / ".current"
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        time.sleep(0.05)
        now = _number_in(current)
        if now != done:
            deadline, done = time.monotonic() + 60 * _SECONDS, now
        if time.monotonic() > deadline:  # It does not even come back to Python for the signal.
            os.kill(process, signal.SIGKILL)
    if ended[1]:
        status = os.waitstatus_to_exitcode(ended[1])
        with contextlib.suppress(FileNotFoundError):
            file = (folder / ".current_file").read_text()
            _keep(finds, name, file, (folder / ".current_content").read_bytes(), f"the process ended with {status}")
            shutil.copy(folder / ".valid", folder / file)
    return _number_in(current)


def _cases(name: str, folder: pathlib.Path, finds: pathlib.Path, seed: int) -> None:
    target = TARGETS[name]
    valid = {file: (folder / file).read_bytes() for file in target.files}
    signal.signal(signal.SIGPROF, _too_long)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    for number in range(_CASES):
        rng = random.Random(seed + number)
        file = rng.choice(target.files)
        content = mutated(valid[file], rng, list(valid.values()))
        (folder / ".valid").write_bytes(valid[file])
        (folder / ".current_content").write_bytes(content)
        (folder / ".current_file").write_text(file)
        (folder / ".current").write_text(str(number + 1))
        (folder / file).write_bytes(content)
        why = _what_goes_wrong(target, folder)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if why is None and used - before > _BYTES >> 10:
            why = f"{(used - before) >> 10} MiB of memory"
        before = max(before, used) if why else before
        if why is not None:
            _keep(finds, name, file, content, why)
        (folder / file).write_bytes(valid[file])
        if time.monotonic() - began > _SECONDS_OF_A_TURN:
            return


def _what_goes_wrong(target: Target, folder: pathlib.Path) -> str | None:
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        return judge(target, folder)
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class TooLong(BaseException):
    """Not an `Exception`: nobody may catch it."""


def _too_long(*_: object) -> None:
    raise TooLong(f"more than {_SECONDS} seconds")


def _keep(finds: pathlib.Path, name: str, file: str, content: bytes, why: str) -> None:
    """The smallest file of each place in the code."""
    lines = why.strip().splitlines()
    frames = [line.strip() for line in lines if line.strip().startswith("File ")]
    place = hashlib.sha256("".join([*frames[-1:], lines[-1].partition(":")[0]]).encode()).hexdigest()[:10]
    path = finds / name / file.replace("/", "|") / place
    if path.exists() and path.stat().st_size <= len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(why, "utf-8", "backslashreplace")
    sys.__stdout__.write(f"{name}, {file}: {lines[-1][:200]}\n")


def _in_a_fork(function, what: str) -> None:
    """TensorFlow's threads do not come along into a fork, so nothing is computed here."""
    process = os.fork()
    if process == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(process, 0)[1]:
        sys.exit(f"{what} failed")


def _quiet() -> None:
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    sys.stdout = sys.stderr


def _number_in(path: pathlib.Path) -> int:
    try:
        return int(path.read_text() or 0)
    except FileNotFoundError:
        return 0


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _import_what_is_slow() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: F401

    from kobert_tf2.bert import models  # noqa: F401
    from kobert_tf2.conversion import inspection  # noqa: F401


if __name__ == "__main__":
    main()
