"""The installed command `kobert`: each tool is a subcommand (`kobert pretrain` runs tools/pretrain.py)."""

import ast
import difflib
import pathlib
import runpy
import sys
from collections.abc import Sequence

import kobert_tf2

_PACKAGE = pathlib.Path(__file__).resolve().parent
# When installed, the tools are in the package; in a clone, next to it.
TOOLS = next(folder for folder in (_PACKAGE / "tools", _PACKAGE.parent / "tools") if folder.is_dir())
# In the order in which a project needs them.
_ORDER = (
    *("quickstart", "doctor", "build-vocab", "build-user-dictionary", "create-pretraining-data", "pretrain"),
    *("finetune-mrc", "evaluate-mrc", "finetune-classifier", "finetune-ner", "extract-features", "search-sentences"),
    *("convert-checkpoint", "export-model", "serve"),
)


def commands() -> dict[str, pathlib.Path]:
    """The subcommands and their programs, in the order of use."""
    found = {path.stem.replace("_", "-"): path for path in TOOLS.glob("*.py") if path.stem != "__init__"}
    place = {name: position for position, name in enumerate(_ORDER)}
    return {name: found[name] for name in sorted(found, key=lambda name: (place.get(name, len(_ORDER)), name))}


def main() -> None:
    """The entry point."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> int:
    programs = commands()
    if not arguments or arguments[0] in ("-h", "-help", "--help", "help"):
        print(_overview(programs))
        return 0
    if arguments[0] == "--version":
        print(f"kobert_tf2 {kobert_tf2.__version__}")
        return 0
    if arguments[0] == "completion":
        return _print_completion(arguments[1:])
    name = arguments[0].replace("_", "-").removesuffix(".py")
    if name not in programs:
        near = difflib.get_close_matches(name, programs, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(programs)}"
        print(f"error: kobert has no command {arguments[0]!r}; {meant}", file=sys.stderr)
        return 1
    sys.argv = [str(programs[name]), *arguments[1:]]
    runpy.run_path(str(programs[name]), run_name="__main__")
    return 0


def _overview(programs: dict[str, pathlib.Path]) -> str:
    width = max(map(len, programs))
    lines = [f"  {name:{width}}  {_first_line(path)}" for name, path in programs.items()]
    usage = ["usage: kobert COMMAND [--flag=value ...]", "", *lines, ""]
    return "\n".join(
        [*usage, "kobert COMMAND --help explains its flags; kobert completion bash|zsh|fish prints a script."]
    )


def _first_line(path: pathlib.Path) -> str:
    """A program's summary: the first line of its docstring, read without importing it."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


# ---- Completion ------------------------------------------------------------------------------------------------------


def _print_completion(arguments: Sequence[str]) -> int:
    scripts = {"bash": _BASH, "zsh": f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}", "fish": _FISH}
    if len(arguments) == 2 and arguments[0] == "flags":
        programs = commands()
        print("\n".join(f"--{flag}" for flag in flags_of(programs[arguments[1]])) if arguments[1] in programs else "")
        return 0
    if len(arguments) == 1 and arguments[0] in scripts:
        print(scripts[arguments[0]].replace("COMMANDS", " ".join(commands())))
        return 0
    print("error: kobert completion: expected bash, zsh or fish", file=sys.stderr)
    return 1


def flags_of(path: pathlib.Path) -> list[str]:
    """The names of a program's flags, parsed from its source because running it would take seconds."""
    shared = ast.parse((_PACKAGE / "command_line.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in shared.body if isinstance(node, ast.FunctionDef)}
    names: set[str] = {"language", "verbose"}
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        for node in ast.walk(pending.pop()):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            first = node.args[0] if node.args else None
            if node.func.attr.startswith("DEFINE_") and isinstance(first, ast.Constant):
                names.add(str(first.value))
            elif node.func.attr in functions and node.func.attr.startswith("define_"):
                pending.append(functions.pop(node.func.attr))
    return sorted(names)


_BASH = """_kobert() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "COMMANDS" -- "$word"))
    elif [[ $word == --* ]]; then
        COMPREPLY=($(compgen -S = -W "$(kobert completion flags "${COMP_WORDS[1]}")" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o nospace -o filenames -F _kobert kobert"""
_FISH = """complete -c kobert -n __fish_use_subcommand -f -a "COMMANDS"
complete -c kobert -n 'not __fish_use_subcommand' -a '(kobert completion flags (commandline -opc)[2])'"""
