"""Compiles one program with the TPU's own compiler. Runs as a script in a process of its own.

    python compiler_process.py REQUEST.json

The request is {"hlo": path of a serialized HloModuleProto, "topology": "v3:2x2", "topology_options": {}, "replicas": 8,
"compiled": path for the optimized HLO text, "answer": path for the answer}. The answer is JSON: either "failed" (the
compiler's message), or "memory" (bytes of a core), "seconds" and "cpu_seconds", and always "versions" and "isolated"
(whether the process had no network access).

Neither TensorFlow nor this package is imported here, because TensorFlow and jaxlib each contain their own XLA. libtpu
only compiles: it is not asked for a device or the cloud metadata (TPU_SKIP_MDS_QUERY), and the process leaves the
network before loading it.
"""

import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

# No queries to the cloud metadata server, no device search, and concurrent compilations: libtpu would lock the
# machine's TPU for one process, but none of ours uses it.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_LOOPBACK = "lo"


def leave_network() -> bool:
    """Moves the process into a new network namespace without network access. Returns False if the kernel does not allow
    it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        return False
    with open("/proc/self/net/dev") as devices:
        names = [line.split(":")[0].strip() for line in devices if ":" in line]
    return all(name == _LOOPBACK for name in names)


def end_with_parent() -> None:
    """Lets the kernel end this process when the one that started it is killed, which then cannot do it itself."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def versions() -> dict[str, str]:
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "libtpu")}


def parsed(hlo: bytes) -> Any:
    """The program as an MLIR module (StableHLO) in its context."""
    from jax._src.interpreters import mlir
    from jaxlib import _jax
    from jaxlib.mlir import ir

    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(hlo))
        _replace_copies(module.body)
    return module


def _replace_copies(block: Any) -> None:
    """Replaces each `mhlo.copy` by its operand: TensorFlow's bridge creates such copies, and the TPU compiler cannot
    legalize them.
    """
    for operation in list(block.operations):
        for region in operation.regions:
            for inner in region:
                _replace_copies(inner)
        if operation.operation.name == "mhlo.copy":
            operation.operation.results[0].replace_all_uses_with(operation.operation.operands[0])
            operation.operation.erase()


def compiled(module: Any, topology: str, topology_options: dict, replicas: int) -> Any:
    """The executable for the first `replicas` devices of the topology, without real devices."""
    import numpy as np
    from jax.experimental import topologies
    from jaxlib import _jax

    devices = topologies.get_topology_desc(topology_name=topology, platform="tpu", **topology_options).devices
    if len(devices) < replicas:
        raise ValueError(f"{topology} has {len(devices)} devices, fewer than the {replicas} replicas of the program")
    devices = devices[:replicas]
    options = _jax.CompileOptions()
    options.num_replicas = options.executable_build_options.num_replicas = replicas
    options.num_partitions = options.executable_build_options.num_partitions = 1
    options.device_assignment = _jax.DeviceAssignment.create(np.array([[device.id] for device in devices]))
    return devices[0].client.compile(module, _jax.DeviceList(tuple(devices)), options)


def memory_of(executable: Any) -> dict[str, int]:
    """Memory in bytes per core."""
    stats = executable.get_compiled_memory_stats()
    return {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "aliased": stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
        "code": stats.generated_code_size_in_bytes,
    }


def answer(request: dict) -> dict:
    """The result of a request, or the compiler's message."""
    end_with_parent()
    isolated = leave_network()
    os.environ.update(ENVIRONMENT)
    said: dict = {"isolated": isolated}
    started = time.monotonic()
    try:
        said["versions"] = versions()
        with open(request["hlo"], "rb") as file:
            module = parsed(file.read())
        executable = compiled(module, request["topology"], request["topology_options"], request["replicas"])
    except Exception as error:  # jaxlib raises its own types, RuntimeError and ValueError; the message is enough.
        return said | {"failed": f"{error}" or type(error).__name__}
    with open(request["compiled"], "w", encoding="utf-8") as file:
        file.write(executable.hlo_modules()[0].to_string())
    said |= {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time()}
    return said | {"memory": memory_of(executable)}


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        request = json.load(file)
    text = json.dumps(answer(request))
    with open(request["answer"], "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
