"""The tokenizer as one file: put together from our modules, with no import of ours and no name twice."""

import ast
import builtins

import pytest

from kobert_tf2.tokenization import hf_bundle
from kobert_tf2.tokenization.hf_bundle import tokenizer_code


def test_the_code_defines_no_name_twice_and_imports_nothing_of_ours():
    tree = ast.parse(tokenizer_code())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    names += [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    assert len(names) == len(set(names))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in modules if module.startswith("kobert_tf2")]


def bound_in(tree: ast.AST) -> set[str]:
    """Every name that a file binds, at whatever depth."""
    names = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


@pytest.mark.parametrize("sentencepiece", [False, True])
def test_every_name_that_the_file_uses_is_defined_in_it(sentencepiece):
    tree = ast.parse(tokenizer_code(sentencepiece=sentencepiece))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert not used - bound_in(tree)


def test_the_file_says_what_it_needs():
    assert "pip install mecab-python3 python-mecab-ko-dic" in tokenizer_code()
    assert "pip install sentencepiece" in tokenizer_code(sentencepiece=True)
    assert tokenizer_code().count(f"class {hf_bundle.CODE_CLASS}(") == 1


def test_imports_of_others_are_kept_and_ours_and_the_docstring_go():
    lines = ['"""A docstring."""', "", "import re", "from typing import (", "    Any,", ")"]
    body, others = hf_bundle._without_imports(
        "\n".join([*lines, "", "from kobert_tf2.errors import InputError", "", "X = 1", ""])
    )
    assert body == "X = 1\n"
    assert others == ["import re", "from typing import Any"]
