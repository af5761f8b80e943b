"""Distribution strategies of a run: one device, the GPUs of one machine, several machines, or a TPU.

Importing this module starts nothing. A TPU is used only if it is named, and its errors are reported in one sentence.
"""

import os
import queue
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kobert_tf2 import files, processor
from kobert_tf2.errors import InputError
from kobert_tf2.quiet_tensorflow import has_gpu_device
from kobert_tf2.training import failures, rendezvous

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_TPU_PORT = 8470
_SECONDS_TO_CONNECT = 30
_SECONDS_TO_REACH_A_TPU = 50  # For all attempts together: the user gets an answer within a minute.
_SECONDS_TO_START_A_TPU = 600  # A TPU that answers must still load its program; a large slice takes minutes.


def set_precision(precision: str) -> None:
    """Sets the precision: `bfloat16` computes in bfloat16 and keeps variables in float32. Call it before the model is
    created.
    """
    if precision not in PRECISIONS:
        raise InputError(f"expected a precision among {', '.join(PRECISIONS)}, but got {precision!r}")
    keras.config.set_dtype_policy(PRECISIONS[precision])


def make_strategy(
    name: str = "auto",
    *,
    use_tpu: bool = False,
    tpu_name: str | None = None,
    tpu_zone: str | None = None,
    gcp_project: str | None = None,
    num_tpu_cores: int | None = None,
    master: str | None = None,
    worker_timeout: int = 600,
    devices: list[str] | None = None,
) -> tf.distribute.Strategy:
    """Creates the strategy of this name. Call it before any other TensorFlow operation runs.

    `auto`: a TPU if `use_tpu`, else several workers if TF_CONFIG names them, else all GPUs if there are several, else
    one device. `one_device` is TensorFlow's default strategy. `devices` restricts `mirrored`, for example to ["CPU:0",
    "CPU:1"]. Several workers wait up to `worker_timeout` seconds for each other.
    """
    if name not in NAMES:
        raise InputError(f"expected a strategy among {', '.join(NAMES)}, but got {name!r}")
    if name == "tpu" or (name == "auto" and use_tpu):
        return _tpu_strategy(tpu_name or master, tpu_zone, gcp_project, num_tpu_cores)
    if keras.config.dtype_policy().compute_dtype == "bfloat16" and not tf.config.list_physical_devices("GPU"):
        processor.warn_of_emulated_bfloat16()
    if name == "multi_worker" or (name == "auto" and "cluster" in os.environ.get("TF_CONFIG", "")):
        return _multi_worker_strategy(worker_timeout)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy(devices or _devices_to_mirror(gpus))
    return tf.distribute.get_strategy()


def _devices_to_mirror(gpus: list) -> list[str]:
    return [device.name for device in gpus or tf.config.list_logical_devices("CPU")]


def _multi_worker_strategy(timeout: int) -> tf.distribute.Strategy:
    cluster, job, index = _tf_config(os.environ.get("TF_CONFIG", ""))
    workers = [(kind, number) for kind in _TRAINING_JOBS for number in range(len(cluster.get(kind, [])))]
    addresses = [cluster[kind][number] for kind, number in workers]
    if (job, index) in workers:
        said = f"{', '.join(addresses[:8])}{' ...' if len(addresses) > 8 else ''}"
        print(f"{job} {index} waits up to {timeout} seconds for {len(workers)} workers: {said}", file=sys.stderr)
        rendezvous.meet(addresses, workers.index((job, index)), timeout=timeout)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise failures.lost_worker("at the start", error) from error


_TRAINING_JOBS = ("chief", "worker")
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}, with the index of '
    "each worker"
)


def _tf_config(text: str) -> tuple[dict[str, list[str]], str, int]:
    """The cluster, {job: addresses}, and this process's job and index in it."""
    if "cluster" not in text:
        raise InputError(
            "--strategy=multi_worker: expected the environment variable TF_CONFIG to name the workers, for example "
            f"{_EXAMPLE}"
        )
    said = files.parse_json(text, "TF_CONFIG", dict)
    cluster, task = said.get("cluster"), said.get("task")
    is_cluster = isinstance(cluster, dict) and all(
        isinstance(hosts, list) and all(isinstance(host, str) and _has_port(host) for host in hosts)
        for hosts in cluster.values()
    )
    if not isinstance(cluster, dict) or not is_cluster or not set(cluster) & set(_TRAINING_JOBS):
        raise InputError(f"TF_CONFIG: expected addresses with ports in the cluster, as in {_EXAMPLE}; got {text[:200]}")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if kind is None or kind not in cluster or type(index) is not int or not 0 <= index < len(cluster[kind]):
        raise InputError(f"TF_CONFIG: expected the task to be one of the cluster's, as in {_EXAMPLE}; got {task!r}")
    return cluster, kind, index


def _has_port(host: str) -> bool:
    return host.rpartition(":")[0] != "" and host.rpartition(":")[2].isdigit()


def _tpu_strategy(name: str | None, zone: str | None, project: str | None, cores: int | None) -> tf.distribute.Strategy:
    """`name`: a Cloud TPU's name, grpc://address:8470, or `local` on a TPU VM."""
    if not name:
        raise InputError("--use_tpu: expected --tpu_name (a Cloud TPU's name, grpc://address:8470, or local), got none")
    try:
        resolver = _within(_SECONDS_TO_REACH_A_TPU, lambda: _reached_tpu(name, zone, project), name)
        _within(_SECONDS_TO_START_A_TPU, lambda: tf.tpu.experimental.initialize_tpu_system(resolver), name)
        strategy = tf.distribute.TPUStrategy(resolver)
    except InputError:
        raise
    except Exception as error:  # Errors of libtpu, gRPC or the cloud API: hundreds of lines without the reason.
        raise InputError(f"TPU {name!r} cannot be used: {_first_line(error)}") from error
    if cores and cores != strategy.num_replicas_in_sync:
        raise InputError(f"--num_tpu_cores={cores}, but TPU {name!r} has {strategy.num_replicas_in_sync} cores")
    return strategy


def _reached_tpu(name: str, zone: str | None, project: str | None) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """The resolver of a TPU that answers; connects to it if it is on another machine."""
    if name.startswith("grpc://"):
        _check_reachable(name)
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name, zone=zone, project=project)
    if name != "local":
        _check_reachable(resolver.master())
        tf.config.experimental_connect_to_cluster(resolver)
    return resolver


def _within(seconds: float, function: Callable, tpu: str) -> Any:
    """Returns `function()`, or raises `InputError` after this many seconds: the cloud API and gRPC retry for minutes.

    The waiting thread is abandoned; it does not prevent the process from ending.
    """
    results: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except BaseException as error:  # Re-raised in the waiting thread.
            results.put((None, error))

    threading.Thread(target=run, daemon=True, name="tpu").start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise InputError(
            f"TPU {tpu!r} did not answer within {seconds} seconds; is it running, in this zone and project "
            "(--tpu_zone, --gcp_project), and may this machine reach it?"
        ) from None
    if error is not None:
        raise error
    return result


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_reachable(address: str) -> None:
    """Opens and closes a connection, because gRPC alone would wait for minutes."""
    host = urllib.parse.urlsplit(address)
    try:
        socket.create_connection((host.hostname, host.port or _TPU_PORT), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise InputError(f"TPU {address!r} cannot be reached: {error}; is it running, and in this network?") from None


def require_remote_paths(strategy: dict, **paths: str | None) -> None:
    """Rejects local paths before anything starts if the TPU is remote, because it cannot read this machine's disk.

    `strategy` holds the keyword arguments of `make_strategy`; `paths` is keyed by flag name.
    """
    name = strategy.get("tpu_name") or strategy.get("master")
    if not (strategy.get("use_tpu") or strategy.get("name") == "tpu") or name in (None, "", "local"):
        return
    for flag, value in paths.items():
        for path in filter(None, (value or "").split(",")):
            if not path.startswith("gs://"):
                raise InputError(
                    f"--{flag}={path}: TPU {name!r} is another machine and cannot read this one's disk; copy it to a "
                    "bucket (gsutil cp -r ... gs://bucket/...) that the TPU's service account may read, and give the "
                    "gs:// path"
                )


def describe(strategy: tf.distribute.Strategy) -> str:
    """Describes the devices of a run: "one device (CPU)", "4 devices (GPU)", "2 workers, 8 devices"."""
    replicas = strategy.num_replicas_in_sync
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return f"TPU, {replicas} cores"
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    if kind == "CPU" and has_gpu_device():  # TensorFlow logged the reason when loaded, in suppressed lines.
        kind = "CPU; TensorFlow does not use this machine's GPU, --verbose says why"
    if num_workers(strategy) > 1:
        return f"{num_workers(strategy)} workers, {replicas} devices ({kind})"
    return f"one device ({kind})" if replicas == 1 else f"{replicas} devices ({kind})"


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return True
    return resolver.task_type in (None, "chief") or (resolver.task_id == 0 and "chief" not in _jobs(resolver))


def _jobs(resolver: tf.distribute.cluster_resolver.TPUClusterResolver) -> dict:
    return resolver.cluster_spec().as_dict()


def num_workers(strategy: tf.distribute.Strategy) -> int:
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or strategy.cluster_resolver is None:
        return 1
    return sum(len(tasks) for job, tasks in _jobs(strategy.cluster_resolver).items() if job in ("chief", "worker")) or 1
