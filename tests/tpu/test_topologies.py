"""The names of TPUs, their published figures, and how the TPU compiler names them."""

import pytest

from kobert_tf2.errors import InputError
from kobert_tf2.tpu import topologies

# Of a chip, as cloud.google.com/tpu/docs has them: GiB, TFLOP/s in bfloat16, GB/s, replicas.
CHIPS = {
    "v2": (16, 45, 700, 2),
    "v3": (32, 123, 900, 2),
    "v4": (32, 275, 1228, 1),
    "v5e": (16, 197, 819, 1),
    "v5p": (95, 459, 2765, 1),
    "v6e": (32, 918, 1640, 1),
}


@pytest.mark.parametrize("name", topologies.USUAL)
def test_every_topology_has_the_figures_of_its_chips(name):
    generation, count = name.split("-")
    memory, peak, bandwidth, replicas = CHIPS[generation]
    found = topologies.find(name)
    assert (found.memory * replicas, found.peak * replicas, found.bandwidth * replicas) == (memory, peak, bandwidth)
    chips = int(count) // (1 if generation in ("v5e", "v6e") else 2)
    assert found.cores == chips * replicas
    assert found.available < 1.02 * found.memory


@pytest.mark.parametrize(
    ("name", "compiler_name"),
    [
        ("v2-8", "v2:2x2"),
        ("v3-8", "v3:2x2"),
        ("v3-32", "v3:4x4"),
        ("v3-128", "v3:8x8"),
        ("v4-8", "v4:2x2x1"),
        ("v4-32", "v4:2x2x4"),
        ("v5e-1", "v5e:1x1x1"),
        ("v5e-8", "v5e:2x4"),
        ("v5litepod-8", "v5e:2x4"),
        ("V5E-16", "v5e:4x4"),
        ("v5p-8", "v5p:2x2x1"),
        ("v6e-8", "v6e:2x4"),
    ],
)
def test_the_compiler_is_asked_for_the_layout_of_the_slice(name, compiler_name):
    assert topologies.find(name).compiler_name == compiler_name


@pytest.mark.parametrize("name", ["v9-8", "v3", "", "8", "v3-8-8", "tpu"])
def test_a_name_that_is_none_is_reported_with_those_that_are(name):
    with pytest.raises(InputError, match=r"expected --tpu_topology among v2-8, v3-8, .*, but got"):
        topologies.find(name)


@pytest.mark.parametrize(("name", "sizes"), [("v3-7", "v3-8, v3-16"), ("v5e-3", "v5e-1, v5e-4"), ("v4-4", "v4-8")])
def test_a_slice_that_does_not_exist_is_reported_with_those_that_do(name, sizes):
    with pytest.raises(InputError, match=f"no such slice of {name[:2]}.*{sizes}"):
        topologies.find(name)
