"""`tokenization_kobert.py`: the tokenizer as one file that is saved with a model.

`AutoTokenizer.from_pretrained(folder, trust_remote_code=True)` loads it and needs mecab-python3 and python-
mecab-ko-dic alone, or sentencepiece alone. It is assembled from the modules that run here, so the two cannot diverge.
"""

import ast
import pathlib

CODE_FILE = "tokenization_kobert.py"
CODE_CLASS = "KoBertTokenizer"
_MODULES_OF_SENTENCEPIECE = (
    "errors",
    "tokenization/decoding",
    "tokenization/sentencepiece",
    "tokenization/hf_sentencepiece",
)
_MODULES = (
    "errors",
    "tokenization/decoding",
    "tokenization/normalization",
    "tokenization/substitutes",
    "tokenization/mecab",
    "tokenization/wordpiece",
    "tokenization/words",
    "tokenization/hf_tokenizer",
)
_HEAD = '''"""Korean BERT tokenizer for Hugging Face transformers, written by kobert_tf2.

Needs: pip install {packages}
Put together from modules of kobert_tf2: {modules}.
"""
'''


def tokenizer_code(*, sentencepiece: bool = False) -> str:
    """The contents of `tokenization_kobert.py`, for morphemes or for a SentencePiece model."""
    modules = _MODULES_OF_SENTENCEPIECE if sentencepiece else _MODULES
    package = pathlib.Path(__file__).parents[1]
    bodies = [_without_imports((package / f"{module}.py").read_text(encoding="utf-8")) for module in modules]
    imports = sorted({line for _, lines in bodies for line in lines}, key=lambda line: ("transformers" in line, line))
    parts = [f"# --- {module}.py ---\n\n{body}" for module, (body, _) in zip(modules, bodies, strict=True)]
    names = ", ".join(f"{module}.py" for module in modules)
    packages = "sentencepiece" if sentencepiece else "mecab-python3 python-mecab-ko-dic"
    return "\n\n".join([_HEAD.format(modules=names, packages=packages) + "\n" + "\n".join(imports), *parts])


def _without_imports(source: str) -> tuple[str, list[str]]:
    """(the module without its docstring and imports, its third-party imports as lines)."""
    lines: list[str | None] = [*source.splitlines()]
    others = []
    for position, node in enumerate(ast.parse(source).body):
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if is_import and not getattr(node, "module", "").startswith("kobert_tf2"):
            others.append(ast.unparse(node))
        if is_import or (position == 0 and isinstance(node, ast.Expr)):
            lines[node.lineno - 1 : node.end_lineno] = [None] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(line for line in lines if line is not None).strip() + "\n", others
