"""What is counted in HLO text is what stands there."""

import pathlib

import pytest

from kobert_tf2.tpu import hlo

SOURCE = pathlib.Path(__file__).with_name("source.hlo").read_text()
OPTIMIZED = pathlib.Path(__file__).with_name("optimized.hlo").read_text()


def test_products_dynamic_shapes_and_foreign_operations_are_found_in_a_source_program():
    found = hlo.survey(hlo.parse(SOURCE))
    assert found.flops == 2 * (2 * 4 * 6 * 8)
    assert found.dynamic == {"custom-call ragged": "x/Where"}
    assert list(found.foreign) == ["custom-call PadToStatic", "convert in f64", "custom-call xla_python_cpu_callback"]
    assert (found.emulated, found.all_reduces, found.operations) == (1, 1, 11)


def test_a_step_is_the_body_of_the_loop_and_its_inner_loop_as_often_as_it_goes_round():
    bfloat, full = 256 * 256 * 2, 256 * 256 * 4
    rows = 8 * 256 * 4 + 8 * 256 * 4 + 4  # A slice of the table, its result, and the number of the slice.
    reduced = full + 8 * 256 * 4 + full + 8 * 128 * 4
    old = full + full + 2 * 2 * 4
    step = hlo.step_of(hlo.parse(OPTIMIZED), inner_repeats=3)
    # What lies in the core's own memory is not moved: the result of one copy, and one factor of the product.
    assert step.bytes_moved == bfloat + (bfloat + full) + rows + 3 * 2 * full + reduced + old
    product = 2 * bfloat + full
    assert step.percent_in_products == round(
        100 * (product + old) / (2 * bfloat + product + rows + 3 * 2 * full + reduced + old)
    )
    assert (step.transposes, step.transpose_bytes) == (1 + 3, 2 * bfloat + 3 * 2 * full)
    assert step.cycles == 700


def test_a_copy_between_the_memories_of_a_chip_counts_once():
    near = "%fetched = (bf16[256,256]{1,0:T(8,128)(2,1)S(1)}, bf16[256,256]{1,0:T(8,128)(2,1)}, u32[]{:S(2)})"
    added = (
        f"{near} copy-start(%w)\n  %arrived = bf16[256,256]{{1,0:T(8,128)(2,1)S(1)}} copy-done(%fetched)\n  %near = "
    )
    before, after = (hlo.step_of(hlo.parse(text)) for text in (OPTIMIZED, OPTIMIZED.replace("%near = ", added)))
    assert after.bytes_moved - before.bytes_moved == 256 * 256 * 2
    assert after.percent_in_products == before.percent_in_products


def test_all_reduces_float32_products_and_host_transfers_are_found():
    step = hlo.step_of(hlo.parse(OPTIMIZED))
    assert (step.all_reduces, step.all_reduce_bytes) == (1, 256 * 256 * 4 + 3 * 5 * 4)
    assert step.float32_products == ["while/next_1/MatMul"]
    assert step.host_transfers == []
    with_infeed = OPTIMIZED.replace("%near = ", '%fed = f32[4]{0} infeed(%i), metadata={op_name="feed"}\n  %near = ')
    assert hlo.step_of(hlo.parse(with_infeed)).host_transfers == ["feed"]


@pytest.mark.parametrize(
    ("text", "size", "padded"),
    [
        ("f32[1000,200]{1,0:T(8,128)}", 800_000, 1000 * 256 * 4),
        ("f32[1000,200]{0,1:T(8,128)}", 800_000, 1024 * 200 * 4),
        ("bf16[3,5,7]{2,1,0:T(8,128)(2,1)}", 210, 3 * 8 * 128 * 2),
        ("f32[61]{0:T(256)}", 244, 1024),
        ("pred[3]{0}", 3, 3),
        ("f32[]{:T(256)}", 4, 4),
    ],
)
def test_an_array_fills_whole_tiles(text, size, padded):
    shape = hlo._shape(*hlo._SHAPE.match(text).groups(default=""))
    assert (shape.size, shape.padded_size) == (size, padded)


def test_arguments_come_in_their_order_and_the_largest_results_with_their_operation():
    module = hlo.parse(OPTIMIZED)
    assert [shape.dims for shape in hlo.arguments(module)] == [(), (256, 256), (1000, 200)]
    largest = hlo.largest_results(module, 2)
    assert largest[0][1].padded_size == 256 * 256 * 4
    assert {name for name, _ in hlo.largest_results(module, 9)} >= {"while/layer_1/MatMul", "while/embeddings/Gather"}
