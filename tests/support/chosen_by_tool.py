"""Runs one tool's main with many command lines in one process, until it has chosen its tokenizer and configuration.

    python chosen_by_tool.py TOOL.py LINES.json

LINES.json has `lines`, {name: [flags]}, and `texts`. The last line of standard output is {name: chosen values}.

TensorFlow is imported once. A run ends before it makes its model or reads its text, by raising `Chosen` with the chosen
values.
"""

import contextlib
import importlib.util
import io
import json
import pathlib
import sys

from absl import flags


class Chosen(Exception):  # noqa: N818 - not an error
    """Ends a run, once the tool has chosen its tokenizer and configuration."""


def main(tool: str, path: str) -> None:
    spec = importlib.util.spec_from_file_location("tool", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if hasattr(module, "define_flags"):
        module.define_flags()
    chosen = _stop_where_all_is_chosen(pathlib.Path(tool).stem)
    results = {}
    asked = json.loads(pathlib.Path(path).read_text("utf-8"))
    for name, arguments in asked["lines"].items():
        flags.FLAGS.unparse_flags()
        for flag in flags.FLAGS:
            flags.FLAGS[flag].unparse()
        flags.FLAGS([tool, *arguments])
        results[name] = _chosen(module, chosen, asked["texts"])
    print(json.dumps(results, ensure_ascii=False))


def _stop_where_all_is_chosen(tool: str) -> dict:
    """Makes a run record its tokenizer and, if the tool has one, its configuration, and then stop."""
    from kobert_tf2.tokenization import pretrained

    chosen: dict = {}
    with_model = tool in ("pretrain", "finetune_mrc", "finetune_classifier", "finetune_ner")

    def note(name, function, *, last):
        def noted(*args, **kwargs):
            chosen[name] = function(*args, **kwargs)
            if last:
                raise Chosen
            return chosen[name]

        return noted

    pretrained.from_flags = note("tokenizer", pretrained.from_flags, last=not with_model)
    if with_model:
        from kobert_tf2.tasks import start

        start.find_config = note("config", start.find_config, last=True)
    return chosen


def _chosen(module, chosen: dict, texts: list[str]) -> dict:
    from kobert_tf2.errors import InputError

    chosen.clear()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            module.main()
    except Chosen:
        pass
    except InputError as error:
        return {"error": str(error)}
    lines = [line for line in said.getvalue().splitlines() if line.startswith("tokenizer: ")]
    result = {"settings": chosen["tokenizer"].settings(), "lines": lines}
    result["tokens"] = {text: chosen["tokenizer"].tokenize(text) for text in texts}
    return result | ({"config": chosen["config"].to_dict()} if "config" in chosen else {})


if __name__ == "__main__":
    main(*sys.argv[1:])
