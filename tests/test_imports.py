"""The import rule, held by reading the source of the whole tree: who imports whom, what loads TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

import kobert_tf2

PACKAGE = pathlib.Path(kobert_tf2.__file__).parent

# What a room may import of ours, at whatever depth the import stands. Rooms side by side never see each other.
FOUNDATION = {
    "errors",
    "files",
    "outputs",
    "arguments",
    "flag_bounds",
    "hub",
    "parallel",
    "progress",
    "command_line",
    "command_help",
    "flag_files",
    "import_hooks",
    "keras_objects",
    "quiet_tensorflow",
    "kobert",
    "processor",
    "screen",
    "language",
    "charts",
    "figures",
    "pages",
    "sample_data",
    "work_folder",
    "beam_map",
}
TEXT = FOUNDATION | {"tokenization"}
MODEL = FOUNDATION | {"bert"}
ALLOWED = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    "tokenization": FOUNDATION,
    "vocabulary": TEXT,
    "pretraining_data": TEXT,
    "reading": TEXT,
    "labelling": TEXT,
    "bert": FOUNDATION,
    "training": MODEL,
    "conversion": MODEL | {"tokenization"},
    "features": TEXT | MODEL,
    "tpu": MODEL | {"training"},
    "tasks": TEXT | MODEL | {"pretraining_data", "reading", "labelling", "training", "tpu", "features"},
    "serving": TEXT | MODEL | {"reading", "labelling", "features"},
}
TEXT_HALF = FOUNDATION | {"tokenization", "vocabulary", "pretraining_data", "reading", "labelling"}
TENSOR_LIBRARIES = {"tensorflow", "keras", "keras_hub", "keras_nlp", "tensorflow_text", "torch", "jax"}
KERAS_ALONE = {"bert.dropout", "bert.layers", "bert.models"}


def name_of(path: pathlib.Path) -> str:
    """`tokenization.mecab` for kobert_tf2/tokenization/mecab.py."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def room(module: str) -> str:
    return module.split(".")[0]


def imported(path: pathlib.Path, *, in_functions: bool) -> set[str]:
    """Full names of what a file imports, with or without what its functions import."""
    names, pending = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return names


def ours(names: set[str]) -> set[str]:
    """The modules of this package among full names of modules and of what stands in them."""
    found = {name.removeprefix("kobert_tf2.") for name in names if name.startswith("kobert_tf2.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in found}


def top_level(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_rooms_behind_its_own(module):
    assert room(module) in ALLOWED, f"{module}: {room(module)} is no room of the import rule"
    seen = {room(other) for other in ours(imported(MODULES[module], in_functions=True))}
    surplus = seen - ALLOWED[room(module)] - {room(module)}
    assert not surplus, f"{module} imports {sorted(surplus)}, which its room may not see"


def test_no_module_comes_back_to_itself_through_its_imports():
    graph = {module: ours(imported(path, in_functions=True)) for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]):
        assert module not in way, f"a circle: {' -> '.join([*way[way.index(module) :], module])}"
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) in TEXT_HALF))
def test_the_text_half_never_imports_a_tensor_library(module):
    assert not top_level(imported(MODULES[module], in_functions=False)) & TENSOR_LIBRARIES


@pytest.mark.parametrize("module", sorted(KERAS_ALONE))
def test_the_model_is_written_with_keras_alone(module):
    assert top_level(imported(MODULES[module], in_functions=False)) & TENSOR_LIBRARIES <= {"keras"}


def test_tools_never_import_each_other_and_nothing_imports_tools():
    tools = sorted((PACKAGE.parent / "tools").glob("*.py"))
    names = {path.stem for path in tools}
    for path in [*tools, *MODULES.values()]:
        assert not top_level(imported(path, in_functions=False)) & (names | {"tools"}), path


def test_no_library_function_reads_a_flag():
    for module, path in MODULES.items():
        if module not in {"command_line", "command_help"}:
            assert "absl.flags" not in imported(path, in_functions=True), path


def test_the_configuration_loads_no_tensor_library():
    script = f"import sys, kobert_tf2\nkobert_tf2.BertConfig\nprint(sorted(set(sys.modules) & {TENSOR_LIBRARIES!r}))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_importing_the_package_and_tokenizing_load_no_tensor_library():
    script = (
        "import sys, kobert_tf2\n"
        "kobert_tf2.Tokenizer, kobert_tf2.strip_josa\n"
        f"print(sorted(set(sys.modules) & {TENSOR_LIBRARIES!r}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
