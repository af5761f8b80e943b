"""A Dask cluster of processes on this machine: a scheduler and workers, as on several machines."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

RUNNER = "--runner=DaskRunner"


class Cluster:
    """`options` are the pipeline's options; `workers` are the processes, with one thread each."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self.workers = folder, []
        self.scheduler_file = folder / "scheduler.json"
        self.options = [RUNNER, f"--dask_scheduler_file={self.scheduler_file}"]

    def start(self, program: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_" + program, "--no-dashboard", *arguments]
        log = open(self._folder / f"{program}-{len(self.workers)}.log", "wb")  # noqa: SIM115
        # A cluster's workers do not run in the folder from which the command is started.
        cwd = self._folder / "elsewhere"
        cwd.mkdir(exist_ok=True)
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=cwd, env={**os.environ, "TMPDIR": str(cwd)})

    def add_worker(self) -> subprocess.Popen:
        arguments = ("--nthreads=1", "--no-nanny", f"--scheduler-file={self.scheduler_file}", "--host=127.0.0.1")
        self.workers.append(self.start("worker", *arguments))
        return self.workers[-1]


@contextlib.contextmanager
def cluster(folder: pathlib.Path, *, workers: int) -> Iterator[Cluster]:
    folder.mkdir(parents=True)
    made = Cluster(folder)
    scheduler = made.start("scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={made.scheduler_file}")
    try:
        for _ in range(600):
            if made.scheduler_file.exists():
                break
            time.sleep(0.1)
        for _ in range(workers):
            made.add_worker()
        yield made
    finally:
        for process in [*made.workers, scheduler]:
            process.kill()
            process.wait()
