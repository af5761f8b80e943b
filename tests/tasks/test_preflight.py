"""What is counted without a TPU is what the program holds."""

import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.tasks import preflight

HLO = """
%body (p: (f32[4,8], s32[])) -> f32[4,6] {
  %a = f32[4,8]{1,0} parameter(0)
  %b.1 = f32[8,6]{1,0} parameter(1)
  %d = f32[4,6]{1,0} dot(f32[4,8]{1,0} %a, f32[8,6]{1,0} %b.1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %e = f32[4,6]{1,0} dot(%a, %b.1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %ragged = s32[<=128]{0} custom-call(%a), custom_call_target="PadToStatic"
  %wide = f64[4]{0} convert(%a)
  ROOT %call = f32[4]{0} custom-call(%a), custom_call_target="xla_python_cpu_callback"
}
"""


def test_products_dynamic_shapes_and_foreign_operations_are_found_in_hlo():
    program = preflight.parse(HLO)
    assert program.flops == 2 * (2 * 4 * 6 * 8)
    assert program.dynamic == ["custom-call ragged: [<=128]"]
    assert program.foreign == ["convert in f64", "custom-call xla_python_cpu_callback"]


@pytest.fixture(scope="module")
def report():
    model, optimizer = training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1)
    return check(model, optimizer, 16)


def check(model, optimizer, rows: int, topology: str = "v3-8") -> dict:
    features = training_runs.features(rows)
    batch = {name: tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for name, x in features.items()}
    return preflight.preflight(model, optimizer, training_runs.task(), batch, topology=topology, iterations_per_loop=5)


def test_the_program_compiles_with_static_shapes_and_nothing_foreign(report):
    assert report["compiled"]
    assert report["dynamic_shapes"] == []
    assert report["without_a_tpu_kernel"] == []
    assert report["rows_per_core"] == 2


def test_the_products_of_the_program_are_those_by_the_book(report):
    assert report["flops_per_step"] == report["flops_per_step_by_the_book"]


def test_speed_is_peak_over_work(report):
    expected = 0.4 * 61.5e12 * 8 / report["flops_per_step"]
    assert report["steps_per_second_at_40_percent_of_peak"] == pytest.approx(expected)


def test_a_batch_that_the_cores_cannot_share_is_told_with_both_numbers():
    with pytest.raises(InputError, match="train_batch_size=12 cannot be divided among the 8 cores of v3-8"):
        check(None, None, 12)


def test_a_topology_that_does_not_exist_is_told():
    with pytest.raises(InputError, match=r"v3-8.*but got 'v9-1'"):
        check(None, None, 8, "v9-1")


def test_every_topology_has_the_figures_of_its_chips():
    """Per chip, as cloud.google.com/tpu/docs has them: GiB, TFLOP/s in bfloat16, replicas."""
    chips = {"v2": (16, 45, 2), "v3": (32, 123, 2), "v4": (32, 275, 1), "v5p": (95, 459, 1)}
    chips |= {"v5e": (16, 197, 1), "v6e": (32, 918, 1)}
    for name, topology in preflight.TOPOLOGIES.items():
        generation, count = name.split("-")
        memory, peak, replicas = chips[generation]
        assert (topology.memory * replicas, topology.peak * replicas) == (memory, peak), name
        number_of_chips = int(count) // (1 if generation in ("v5e", "v6e") else 2)
        assert topology.cores == number_of_chips * replicas, name
