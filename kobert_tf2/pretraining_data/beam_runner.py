"""Does the work of `local_runner` on the workers of an Apache Beam pipeline, for a corpus too large for one machine.

This machine splits the corpus into blocks. Each of the three stages (blocks to tokens, to records, to shards) is then a
pipeline that runs `Worker` for every block or shard. The stages are those of the local runner, so the output bytes are
identical. As there, finished work is not repeated: the same command resumes an interrupted pipeline.

Input, output and the folder of intermediate files must be on a file system that all workers share. A worker keeps a few
blocks and one bucket in memory. The folder stores the records once, in addition to the shards made from them.

Needs the extra `beam`, or `dask`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

from kobert_tf2 import beam_map
from kobert_tf2.pretraining_data import local_runner
from kobert_tf2.pretraining_data.worker import Run, Worker


def create(request: local_runner.Request, options: Sequence[str]) -> dict:
    """Creates the records with pipelines with these options (such as `--runner=DaskRunner`); returns the side-car's
    counts.
    """
    beam_map.check(options)
    work_dir = request.work_dir and beam_map.absolute(request.work_dir)
    request = dataclasses.replace(
        request,
        input_file=beam_map.absolute(request.input_file),
        output_file=beam_map.absolute(request.output_file),
        work_dir=work_dir,
    )
    return local_runner.create(request, workers=functools.partial(_pipelines, options))


@contextlib.contextmanager
def _pipelines(options: Sequence[str], request: local_runner.Request, worker: Worker, blocks: int) -> Iterator[Run]:
    def run(name: str, common: tuple, items: Iterable[tuple]) -> Iterator[dict]:
        stage = _Stage(worker, name, common)
        return iter(beam_map.run(stage, list(items), options=options, folder=worker.work, what=name))

    yield run


@dataclasses.dataclass(frozen=True)
class _Stage:
    """One method of a worker with the arguments common to all items, so that these are sent only once."""

    worker: Worker
    name: str
    common: tuple

    def __call__(self, item: tuple) -> dict:
        return self.worker((self.name, *self.common, *item))
