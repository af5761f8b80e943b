"""Maps a function over many items with an Apache Beam pipeline, results in the items' order: `parallel` for a cluster.

The pipeline is as simple as possible, so that every Beam runner supports it: the items are distributed over the
workers, the function is applied, and its results are gathered into one file. All large data goes through `folder`,
which all workers and this machine must share (NFS, `gs://`), as they must the input and output: the function reads and
writes files there, and is itself pickled into a file there. The function must produce the same files when it is
repeated, because a runner restarts the items of a worker that died.

Needs the extra `beam`, or `dask` for a cluster without Java.
"""

import functools
import importlib.metadata
import os
import pickle
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners import runner as beam_runners

from kobert_tf2 import files
from kobert_tf2.errors import InputError

# A different version of one of these on a worker may produce different bytes.
_SAME_EVERYWHERE = ("kobert_tf2", "numpy", "mecab-python3", "python-mecab-ko-dic", "tokenizers", "sentencepiece")


def run(
    function: Callable[[Any], Any], items: Sequence, *, options: Sequence[str], folder: str, what: str = "map"
) -> list:
    """Returns `function(item)` for every item, computed on the workers of the pipeline.

    Args:
      function: must be picklable, and must return JSON-serialisable values that do not depend on where it runs.
      options: pipeline options, such as `--runner=DaskRunner`.
      folder: an absolute path that all workers can access.
      what: the name of the step in the runner's web pages.

    Raises: `InputError` if the function raises one or an `OSError` on a worker (the first in the order of the items),
    if a worker cannot access `folder`, or if it has different versions of packages that determine the result.
    """
    name = f"{folder}/beam-{secrets.token_hex(4)}"
    function_path, results_path = f"{name}.function", f"{name}.results"
    with files.whole_file(function_path, "wb") as file:
        pickle.dump((_versions(), function), file)
    try:
        _run_pipeline(_pipeline(options), what, list(enumerate(items)), function_path, results_path)
        if not files.exists(results_path):
            raise InputError(f"{folder}: the pipeline ended, but its results are not here; {_SHARED}")
        outcomes = files.read_json(results_path, list)
    finally:
        files.remove(function_path)
        files.remove(results_path)
    if error := next((outcome["error"] for outcome in outcomes if "error" in outcome), None):
        raise InputError(error)
    return [outcome["result"] for outcome in outcomes]


_AGAIN = "give the same command again to go on"
_SHARED = "the workers must share the folders of the input, the output and --work_dir with this machine"


def check(options: Sequence[str]) -> None:
    """Raises `InputError` early for a runner that Beam does not have, or a Dask scheduler that does not answer."""
    made = _pipeline_options(options)
    name = made.view_as(StandardOptions).runner or StandardOptions.DEFAULT_RUNNER
    if name == _DASK:
        _check_dask(made)
        return
    try:
        beam_runners.create_runner(name)
    except (AttributeError, ImportError, ValueError, TypeError) as error:
        said = str(error).strip().split("\n")[0]
        raise InputError(f"--beam_option=--runner={name}: Beam has no such runner here: {said}") from None


def _check_dask(options: PipelineOptions) -> None:
    import distributed
    from apache_beam.runners.dask.dask_runner import DaskOptions

    given = options.view_as(DaskOptions).get_all_options(drop_default=True, current_only=True)
    scheduler = {name: value for name, value in given.items() if name in ("address", "scheduler_file", "timeout")}
    if not {"address", "scheduler_file"} & set(scheduler):
        return  # Dask will start processes on this machine.
    try:
        distributed.Client(**scheduler).close()
    except (OSError, ValueError) as error:
        at = scheduler.get("address") or scheduler["scheduler_file"]
        said = str(error).split("\n")[0]
        raise InputError(
            f"{at}: the Dask scheduler cannot be reached ({said}); start it with: dask scheduler"
        ) from None


def absolute(paths: str) -> str:
    """Makes comma-separated local paths or globs absolute, for workers with another working directory."""
    parts = [part.strip() for part in paths.split(",") if part.strip()]
    return ",".join(part if files.is_remote(part) else os.path.abspath(part) for part in parts)


# ------------------------------------------------------------------------------------------------------- the pipeline


# Beam's other runners have short names.
_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"


def _pipeline_options(options: Sequence[str]) -> PipelineOptions:
    options = [f"--runner={_DASK}" if option == "--runner=DaskRunner" else option for option in options]
    try:
        return PipelineOptions(options)
    except SystemExit:  # Raised by argparse, which has printed the reason.
        raise InputError(f"--beam_option: Beam cannot read the options {' '.join(options)}") from None


def _pipeline(options: Sequence[str]) -> beam.Pipeline:
    named = [option.partition("=")[0] for option in options]
    if not {"--dask_npartitions", "--dask_partition_size"} & set(named):
        # By default Dask puts 128 items into one task; other runners ignore this option.
        options = [*options, "--dask_partition_size=1"]
    made = _pipeline_options(options)
    made.view_as(SetupOptions).save_main_session = False
    return beam.Pipeline(options=made)


def _run_pipeline(pipeline: beam.Pipeline, what: str, items: list, function_path: str, results_path: str) -> None:
    _ = (
        pipeline
        | "items" >> beam.Create(items)
        | "spread" >> beam.Reshuffle()
        | what >> beam.ParDo(_Call(function_path))
        | "gather" >> beam.GroupByKey()
        | "results" >> beam.Map(_write_results, path=results_path)
    )
    try:
        result = pipeline.run()
        try:
            result.wait_until_finish()
            # Where the scheduler has gone, Beam's DaskRunner reports the pipeline as done.
            states = {future.status for future in getattr(result, "futures", ())}
            if states - {"finished"}:
                raise ChildProcessError(f"the connection to the Dask scheduler was lost; {_AGAIN}")
        finally:
            _disconnect(result)
    except Exception as error:
        raise (_in_a_sentence(error) or error) from None


def _disconnect(result: Any) -> None:
    """Closes the connection that Beam's DaskRunner leaves open, and with it a cluster started on this machine."""
    client: Any = getattr(result, "client", None)
    if hasattr(client, "close"):
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()


def _in_a_sentence(error: Exception) -> Exception | None:
    """Converts those errors of runners that a user can fix into one sentence; runners pass on workers' errors as text.

    An `InputError` undoes the work so far; after a `ChildProcessError` the same command resumes it.
    """
    said = f"{type(error).__name__}: {error}"
    if type(error).__name__ == "KilledWorker":
        return ChildProcessError(
            "a worker died each time that one came to the same piece of work (out of memory?); give the same command "
            "again to go on, with more memory for each worker (dask worker --nthreads=1 --memory-limit=...)"
        )
    if type(error).__name__ in ("CancelledError", "FutureCancelledError", "CommClosedError"):
        return ChildProcessError(f"the connection to the Dask scheduler was lost; {_AGAIN}")
    if "job server jar" in said:
        return InputError(f"this runner needs Beam's job server, in Java: {str(error).splitlines()[0]}")
    if missing := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said):
        return InputError(
            f"a worker of the pipeline has no module {missing[1]}; the workers need this package with the same extras "
            "and the same versions as this machine"
        )
    return None


class _Call(beam.DoFn):
    """(number, item) -> one key, (number, outcome): {"result": ...} or {"error": a sentence}."""

    def __init__(self, function_path: str) -> None:
        self._function_path = function_path

    # No annotations: Beam takes them for types of the data and chooses coders by them.
    def process(self, numbered):  # type: ignore[no-untyped-def]
        number, item = numbered
        yield 0, (number, _outcome(self._function_path, item))


def _outcome(function_path: str, item: Any) -> dict:
    try:
        return {"result": _function(function_path)(item)}
    except InputError as error:
        return {"error": str(error)}
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        return {"error": f"{named}{error.strerror or error} (on {socket.gethostname()})"}


@functools.lru_cache(maxsize=1)
def _function(path: str) -> Callable[[Any], Any]:
    if not files.exists(path):
        raise InputError(f"{os.path.dirname(path)}: the worker on {socket.gethostname()} does not see it; {_SHARED}")
    with files.open_binary(path) as file:
        versions, function = pickle.load(file)
    for package, here in _versions().items():
        if here != versions[package]:
            raise InputError(
                f"the worker on {socket.gethostname()} has {package} {here}, but the machine that started the pipeline "
                f"has {versions[package]}; install the same everywhere, for other versions may give other bytes"
            )
    return function


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _SAME_EVERYWHERE}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _write_results(gathered, path):  # type: ignore[no-untyped-def]
    _, outcomes = gathered
    ordered = dict(outcomes)  # A runner may process an item twice.
    files.write_json(path, [ordered[number] for number in sorted(ordered)], indent=None)
