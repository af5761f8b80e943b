"""Checks of a TPU's host machine: installed versions, TPU names, and how fast it can feed the chips.

These are the common causes of runs that fail before their first step. Nothing here uses a TPU or a network.
"""

import re
import time
from collections.abc import Mapping

import tensorflow as tf

# The last TensorFlow for TPUs on the package index, and the libtpu of the same date. With newer versions (0.0.42,
# 0.0.52) the process aborted without a message, because a symbol was removed. None of this was tested on hardware.
VERSIONS = {"tensorflow-tpu": "2.20.0", "libtpu": "0.0.21"}
_TEXT = "2.20."  # tensorflow-text requires one minor version of TensorFlow.
INSTALL = (
    "pip install tensorflow-tpu==2.20.0 libtpu==0.0.21 'keras>=3.12'",
    "pip install --no-deps 'tensorflow-text==2.20.*' keras-nlp keras-hub",
    "pip install --no-deps -e . && pip install mecab-python3 python-mecab-ko-dic google-crc32c safetensors "
    "huggingface_hub absl-py",
)
NOT_PROVED = (
    "that TensorFlow starts on the hardware with these versions",
    "that its bridge to the TPU (tpu.replicate) takes the program as XLA does here",
    "the speed, and what the interconnect between chips costs",
    "reading and writing gs:// paths with the rights of the TPU's service account",
)

_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"grpc://[\w.-]+(:\d+)?")


def version_problems(found: Mapping[str, str]) -> list[str]:
    """The problems of the installed packages, {name: version or ""}, on a TPU machine, one sentence each.

    If there are any, TensorFlow must not connect to the TPU: it may abort the process.
    """
    problems = []
    for name, version in VERSIONS.items():
        here = found.get(name, "")
        if here != version:
            problems.append(f"a TPU machine needs {name}=={version}, here is {here or 'none'}: {INSTALL[0]}")
    for name in ("tensorflow", "tensorflow-cpu"):
        if found.get(name):
            problems.append(
                f"{name} {found[name]} hides tensorflow-tpu, which has the same files: pip uninstall {name}"
            )
    text = found.get("tensorflow-text", "")
    if text and not text.startswith(_TEXT):
        problems.append(f"tensorflow-text {text} belongs to another TensorFlow: {INSTALL[1]}")
    for name in ("torch-xla", "torch_xla"):
        if found.get(name):
            problems.append(f"{name} {found[name]} takes libtpu for itself: give TensorFlow an environment without it")
    return problems


def name_problems(tpu_name: str | None, tpu_zone: str | None) -> list[str]:
    """Errors in the format of a TPU's name and zone; whether the TPU exists is known only to the cloud."""
    problems = []
    if tpu_name and not (_NAME.fullmatch(tpu_name) or _ADDRESS.fullmatch(tpu_name)):
        problems.append(
            f"--tpu_name={tpu_name}: expected a name of lower-case letters, digits and hyphens, "
            "grpc://address:8470, or local"
        )
    if tpu_zone and not _ZONE.fullmatch(tpu_zone):
        hint = f", {tpu_zone} is a region" if _REGION.fullmatch(tpu_zone) else ""
        problems.append(f"--tpu_zone={tpu_zone}: expected a zone such as us-central1-b{hint}")
    return problems


def shape_problems(element_spec: Mapping[str, tf.TensorSpec]) -> list[str]:
    """The batch features of a dataset that a TPU does not support: strings, and unknown shapes."""
    problems = []
    for name, spec in element_spec.items():
        if spec.dtype == tf.string:
            problems.append(f"feature {name!r}: a TPU takes no strings")
        elif not spec.shape.is_fully_defined():
            problems.append(f"feature {name!r}: its shape {spec.shape} is not static")
    return problems


def batches_per_second(dataset: tf.data.Dataset, *, seconds: float = 3.0, warm_up: int = 2) -> float:
    """The number of batches per second that this machine reads, parses and shuffles, measured for this long or to the
    end of the data.
    """
    batches = iter(dataset)
    for _ in range(warm_up):
        next(batches, None)
    count, began = 0, time.perf_counter()
    for _ in batches:
        count += 1
        if time.perf_counter() - began > seconds:
            break
    return count / max(time.perf_counter() - began, 1e-9)
