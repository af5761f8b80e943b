"""The architecture's import table, held by reading the source: who imports whom, which half may see TensorFlow."""

import ast
import pathlib
import subprocess
import sys

import pytest

import kobert_tf2

PACKAGE = pathlib.Path(kobert_tf2.__file__).parent

# What a module may import of ours when it is loaded. Importing inside a function is for what is needed only then: the
# weights behind `from_pretrained`, TensorFlow behind a gs:// path.
FOUNDATION = {"errors", "files"}
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "command_line": {"errors"},
    "normalization": set(),
    "morphemes": FOUNDATION | {"normalization"},
    "parallel": FOUNDATION,
    "progress": set(),
    "wordpiece": FOUNDATION,
    "segmentation": FOUNDATION | {"normalization", "morphemes"},
    "transformers_tokenizer": {"segmentation", "wordpiece"},
    "tokenizer_code": set(),
    "user_dictionary": FOUNDATION | {"morphemes"},
    "piece_table": set(),
    "encodings": {"piece_table"},
    "tokenization": FOUNDATION
    | {"parallel", "piece_table", "encodings", "segmentation", "wordpiece", "tokenizer_code"},
    "wordpiece_learner": FOUNDATION,
    "vocabulary": FOUNDATION
    | {"parallel", "progress", "encodings", "wordpiece", "segmentation", "wordpiece_learner", "tokenization"},
    "mrc_metrics": FOUNDATION,
    "pretraining_data": FOUNDATION | {"encodings", "tokenization"},
    "corpus": FOUNDATION,
    "data_blocks": FOUNDATION | {"pretraining_data", "records"},
    "data_worker": FOUNDATION | {"corpus", "data_blocks", "pretraining_data"},
    "data_job": FOUNDATION
    | {"corpus", "data_blocks", "data_worker", "parallel", "pretraining_data", "records", "tokenization"},
    "data_beam": FOUNDATION | {"corpus", "data_blocks", "data_job", "data_worker", "pretraining_data", "records"},
    "mrc_files": FOUNDATION,
    "mrc": FOUNDATION | {"tokenization", "mrc_files"},
    "josa": FOUNDATION | {"morphemes"},
    "mrc_features": FOUNDATION | {"mrc"},
    "mrc_evaluation": FOUNDATION | {"mrc_metrics", "mrc", "mrc_files", "josa"},
    "mrc_report": FOUNDATION | {"mrc_metrics", "mrc_files", "josa"},
    "sample_data": set(),
    "classification": FOUNDATION | {"tokenization"},
    "records": FOUNDATION,
    "bert_config": FOUNDATION,
    "dropout": set(),
    "fused": {"dropout"},
    "fusible": set(),
    "layers": FOUNDATION | {"bert_config", "dropout"},
    "modeling": FOUNDATION | {"bert_config", "dropout", "layers"},
    "optimization": FOUNDATION | {"fused"},
    "losses": FOUNDATION,
    "strategies": FOUNDATION,
    "checkpoints": FOUNDATION,
    "training_log": FOUNDATION,
    "steps": FOUNDATION | {"fused", "fusible"},
    "preflight": FOUNDATION | {"steps"},
    "pretraining": FOUNDATION
    | {"preflight", "checkpoints", "losses", "modeling", "optimization", "records", "training", "training_job"},
    "training_job": FOUNDATION | {"optimization", "strategies", "training"},
    "training": FOUNDATION | {"strategies", "checkpoints", "training_log", "steps"},
    "graph_reading": FOUNDATION,
    "graph_tokenizer": FOUNDATION | {"tokenization"},
    "weight_files": FOUNDATION,
    "weight_table": {"bert_config"},
    "weights": FOUNDATION | {"bert_config", "layers", "weight_files", "weight_table"},
    "resizing": FOUNDATION | {"weight_table", "weights", "wordpiece"},
    "layerwise": FOUNDATION | {"weight_files", "weight_table", "weights"},
    "transformers_forward": {"errors", "parallel"},
    "rewriting": FOUNDATION | {"bert_config", "weight_files", "weight_table", "weights"},
    "comparison": FOUNDATION | {"bert_config", "parallel", "transformers_forward", "weight_files"},
    "conversion": FOUNDATION | {"comparison", "parallel"},
    "keras_hub_models": FOUNDATION | {"bert_config", "modeling", "weight_files", "weight_table", "weights"},
    "classifier": FOUNDATION | {"classification", "tokenization", "modeling", "losses", "training", "training_job"},
    "http_page": set(),
    "http_service": FOUNDATION | {"http_page"},
    "onnx_export": FOUNDATION,
    "predictor": FOUNDATION
    | {"fusible", "modeling", "tokenization", "mrc", "josa", "weight_files", "servable", "serving"},
    "servable": FOUNDATION | {"graph_reading", "graph_tokenizer", "tokenization"},
    "serving": FOUNDATION | {"modeling", "weight_files", "weights", "tokenization", "mrc", "servable"},
    "mrc_training": FOUNDATION
    | {"mrc", "mrc_features", "mrc_metrics", "josa", "tokenization", "modeling", "losses", "training"}
    | {"training_job", "checkpoints", "pretraining", "progress"},
}
TEXT_HALF = {
    "errors",
    "files",
    "command_line",
    "normalization",
    "morphemes",
    "parallel",
    "progress",
    "wordpiece",
    "user_dictionary",
    "segmentation",
    "transformers_tokenizer",
    "tokenizer_code",
    "piece_table",
    "encodings",
    "tokenization",
    "wordpiece_learner",
    "vocabulary",
    "mrc_metrics",
    "pretraining_data",
    "corpus",
    "data_blocks",
    "data_worker",
    "data_job",
    "data_beam",
    "mrc_files",
    "mrc",
    "mrc_features",
    "mrc_evaluation",
    "mrc_report",
    "josa",
    "sample_data",
    "classification",
}
TENSOR_LIBRARIES = {"tensorflow", "keras", "keras_hub", "keras_nlp", "tensorflow_text", "torch", "jax"}


def modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def imported_when_loaded(path: pathlib.Path) -> set[str]:
    """Full names of what a file imports outside its functions."""
    names, pending = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))
    return names


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("kobert_tf2.")}


def top_level(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_the_table_allows(module):
    assert module in ALLOWED, f"{module}.py is not in the import table: give it a floor"
    surplus = ours(imported_when_loaded(PACKAGE / f"{module}.py")) - ALLOWED[module]
    assert not surplus, f"{module}.py imports {sorted(surplus)}, which the table does not allow"


@pytest.mark.parametrize("module", sorted(set(modules()) & TEXT_HALF))
def test_the_text_half_never_imports_a_tensor_library(module):
    assert not top_level(imported_when_loaded(PACKAGE / f"{module}.py")) & TENSOR_LIBRARIES


@pytest.mark.parametrize("module", sorted(set(modules()) & {"dropout", "layers", "modeling"}))
def test_the_model_is_written_with_keras_alone(module):
    assert top_level(imported_when_loaded(PACKAGE / f"{module}.py")) & TENSOR_LIBRARIES <= {"keras"}


def test_tools_never_import_each_other_and_nothing_imports_tools():
    tools = sorted((PACKAGE.parent / "tools").glob("*.py"))
    names = {path.stem for path in tools}
    for path in [*tools, *PACKAGE.glob("*.py")]:
        assert not top_level(imported_when_loaded(path)) & (names | {"tools"}), path


def test_no_library_function_reads_a_flag():
    for path in PACKAGE.glob("*.py"):
        if path.stem != "command_line":
            assert "absl.flags" not in imported_when_loaded(path), path


def test_importing_the_package_and_tokenizing_load_no_tensor_library():
    script = (
        "import sys, kobert_tf2\n"
        "kobert_tf2.Tokenizer, kobert_tf2.strip_josa\n"
        f"print(sorted(set(sys.modules) & {TENSOR_LIBRARIES!r}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
