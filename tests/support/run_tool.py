"""Runs one tool several times in this process: `python run_tool.py TOOL CASES.json`, results as JSON on the last line.

TensorFlow is loaded once, not once per case. A case is {"cwd", "flags", "fsize"}: `fsize` simulates a full disk by
limiting the size of every file to that many bytes. A result is {"status", "stdout", "stderr"}.
"""

import contextlib
import importlib.util
import io
import json
import os
import resource
import sys
import traceback

from absl import flags

from kobert_tf2 import command_line


def load(path: str):
    spec = importlib.util.spec_from_file_location("tool", path)
    module = importlib.util.module_from_spec(spec)
    sys.argv = [path]
    spec.loader.exec_module(module)
    if hasattr(module, "define_flags"):
        module.define_flags()
    return module


def run(main, case: dict) -> dict:
    out, err = io.StringIO(), io.StringIO()
    os.chdir(case["cwd"])
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
        flags.FLAGS[name].present = 0
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            left = flags.FLAGS(["tool", *case["flags"]])
            if case.get("fsize"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (case["fsize"], most))
            status = command_line._call(main, left)
        except Exception:
            traceback.print_exc(file=err)
            status = 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


def main(cases_file: str) -> None:
    tool = load(sys.argv[1])
    with open(cases_file, encoding="utf-8") as file:
        cases = json.load(file)
    results = [run(tool.main, case) for case in cases]
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[2])
