"""The start files of `configs/cluster/` do what their heads say: read by their shells, run with stand-ins."""

import json
import os
import pathlib
import stat
import subprocess

import pytest
from paths import ROOT

FOLDER = ROOT / "configs" / "cluster"
KUBERNETES = FOLDER / "pretrain.kubernetes.yaml"


def stand_in(folder: pathlib.Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def shell(script: str | pathlib.Path, folder: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", str(script)] if isinstance(script, pathlib.Path) else ["/bin/sh", "-c", script]
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "OUT": str(folder), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


# srun: the command once for each task, as many as $TASKS.
SRUN = 'shift; status=0; for i in $(seq 0 $((TASKS - 1))); do SLURM_PROCID=$i "$@" || status=$?; done; exit $status'
# The tool: what it was started with, a JSON a line.
TOOL = 'printf \'%s\\t%s\\n\' "$TF_CONFIG" "$*" >> "$OUT/started"'


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_the_shell_reads_each_script(path):
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).stderr == b""
    assert path.read_text().startswith("#!/usr/bin/env bash\n")


def started(folder: pathlib.Path) -> list[tuple[dict, str]]:
    lines = [line.split("\t") for line in (folder / "started").read_text().splitlines()]
    return [(json.loads(config), arguments) for config, arguments in lines]


def test_each_node_of_slurm_gets_its_tf_config(tmp_path):
    stand_in(tmp_path, "scontrol", 'test "$1 $2" = "show hostnames" && printf "node7\\nnode8\\nnode9\\n"')
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "kobert", TOOL)
    done = shell(FOLDER / "pretrain.slurm.sh", tmp_path, TASKS="3", SLURM_JOB_NODELIST="node[7-9]", SLURM_JOB_ID="5")
    assert done.returncode == 0, done.stderr
    for index, (config, arguments) in enumerate(started(tmp_path)):
        assert config["cluster"] == {"worker": ["node7:2222", "node8:2222", "node9:2222"]}
        assert config["task"] == {"type": "worker", "index": index}
        assert arguments.startswith("pretrain --flagfile=base --do_train --strategy=multi_worker ")
    assert index == 2


@pytest.mark.parametrize(("status", "tries", "requeued", "ends"), [(1, 3, False, 1), (143, 1, True, 0)])
def test_a_lost_node_starts_again_and_the_end_of_time_queues_again(tmp_path, status, tries, requeued, ends):
    stand_in(tmp_path, "scontrol", 'test "$1" = show && echo node7 || echo "$*" >> "$OUT/requeued"')
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "kobert", f"{TOOL}; exit {status}")
    done = shell(FOLDER / "pretrain.slurm.sh", tmp_path, TASKS="1", SLURM_JOB_NODELIST="n", SLURM_JOB_ID="5")
    assert (done.returncode, len(started(tmp_path))) == (ends, tries)
    assert (tmp_path / "requeued").exists() == requeued


def test_slurm_runs_a_scheduler_the_commands_and_workers(tmp_path):
    stand_in(tmp_path, "srun", SRUN)
    stand_in(tmp_path, "scancel", 'echo "$*" >> "$OUT/cancelled"')
    stand_in(tmp_path, "dask", 'echo "dask $*" >> "$OUT/ran"; test "$1" = scheduler && touch "$3"; true')
    stand_in(tmp_path, "kobert", 'echo "kobert $*" >> "$OUT/ran"')
    done = shell(FOLDER / "data.slurm.sh", tmp_path, TASKS="4", SLURM_JOB_ID="5", SHARED=str(tmp_path))
    assert done.returncode == 0, done.stderr
    ran = [line.split()[:2] for line in (tmp_path / "ran").read_text().splitlines()]
    tools = [["kobert", "build-vocab"], ["kobert", "create-pretraining-data"]]
    assert ran == [["dask", "scheduler"], *tools, ["dask", "worker"], ["dask", "worker"]]
    assert (tmp_path / "cancelled").read_text() == "5\n"


def objects() -> list[dict]:
    yaml = pytest.importorskip("yaml", reason="needs pyyaml")
    return list(yaml.safe_load_all(KUBERNETES.read_text("utf-8")))


def test_the_objects_of_kubernetes_fit_their_schema():
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for each in objects():
        validate.validate(each, validate.latest_version(), strict=True)


def test_each_pod_of_kubernetes_gets_its_tf_config(tmp_path):
    service, job = objects()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    workers = {each["name"]: each["value"] for each in container["env"]}["WORKERS"]
    assert int(workers) == job["spec"]["completions"] == job["spec"]["parallelism"]
    # The name of a pod of an indexed job is JOB-INDEX.SERVICE, where the service is the pods' subdomain.
    assert service["metadata"]["name"] == pod["subdomain"] == job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    stand_in(tmp_path, "kobert", TOOL)
    done = shell(container["args"][0], tmp_path, WORKERS="3", JOB_COMPLETION_INDEX="1")
    assert done.returncode == 0, done.stderr
    ((config, arguments),) = started(tmp_path)
    name = job["metadata"]["name"]
    assert config["cluster"] == {"worker": [f"{name}-{index}.{name}:2222" for index in range(3)]}
    assert config["task"] == {"type": "worker", "index": 1}
    assert "--worker_timeout=3600" in arguments
