"""The program of one of many replicas: what is in it, how large it is, which of our lines an operation comes from."""

import pytest
import tensorflow as tf
import training_runs

from kobert_tf2.errors import InputError
from kobert_tf2.tpu import hlo, program


@pytest.fixture(scope="module")
def made():
    return training_runs.model_and_optimizer(tf.distribute.get_strategy(), dropout=0.1)


def lowered(made, *, replicas: int = 1, rows: int = 16, micro_batch_size: int | None = None) -> program.Lowered:
    batch = {name: tf.TensorSpec(x.shape, tf.as_dtype(x.dtype)) for name, x in training_runs.features(rows).items()}
    return program.lower_training(
        *made,
        training_runs.task(),
        batch,
        replicas=replicas,
        iterations=5,
        micro_batch_size=micro_batch_size,
    )


def test_replicas_sum_each_gradient_and_the_metrics_and_ask_for_their_number(made):
    found = lowered(made, replicas=4)
    module = hlo.parse(found.text())
    assert hlo.survey(module).all_reduces == len(made[0].trainable_variables) + 1
    assert any(instruction.opcode == "replica-id" for instruction in module.instructions())
    groups = {x.rest.partition("replica_groups=")[2][:11] for x in module.instructions() if x.opcode == "all-reduce"}
    assert groups == {"{{0,1,2,3}}"}


def test_one_replica_sums_nothing(made):
    module = hlo.parse(lowered(made).text())
    assert not [x for x in module.instructions() if x.opcode in ("all-reduce", "replica-id")]


def test_the_masks_of_dropout_are_no_constants_of_the_program(made):
    """A batch of eight times the rows makes the numbers of the elements eight times as many, not the program."""
    assert len(lowered(made, rows=512).hlo()) < 1.1 * len(lowered(made, rows=64).hlo())


def test_a_program_is_given_the_batches_and_then_the_variables_by_their_names(made):
    found = lowered(made)
    shapes = [x.dims for x in hlo.arguments(hlo.parse(found.text()))]
    named = dict(zip(found.arguments, shapes, strict=True))
    assert named["input_ids"] == (5, 16, training_runs.SEQUENCE)
    assert named["embeddings/word_embeddings"] == (training_runs.VOCAB, 16)
    assert {variable.path for variable in made[0].trainable_variables} <= named.keys()
    assert "bert_adam/embeddings_word_embeddings_adam_m" in named


def test_an_operation_and_its_gradient_come_from_the_same_line(made):
    found = lowered(made, micro_batch_size=4)
    module = hlo.parse(found.text())
    names = {x.op_name for x in module.instructions() if "query_1/" in x.op_name and x.opcode == "dot"}
    places = {found.place(name) for name in names}
    lines = {place.partition(" (")[2] for place in places}
    assert len(lines) == 1
    assert lines.pop().startswith("kobert_tf2/bert/kernels/plain.py:")
    assert {place.split("/")[0] for place in places} == {"encoder_layer_0", "gradient of encoder_layer_0"}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("while/bert_x/encoder_layer_1_1/MatMul_1", "encoder_layer_1/MatMul_1 (a.py:1)"),
        ("while/while/bert_x/encoder_layer_1_1/MatMul_1", "encoder_layer_1/MatMul_1 (a.py:1)"),
        (
            "gradient_tape/while/bert_x/encoder_layer_1_1/MatMul_1/MatMul",
            "gradient of encoder_layer_1/MatMul/MatMul (a.py:1)",
        ),
        ("while/bert_x/encoder_layer_1_1/MatMul_1;while/other", "encoder_layer_1/MatMul_1 (a.py:1)"),
        ("while/call.6/sub", "sub (b.py:2)"),
        ("while/nobody/knows", "nobody/knows"),
        ("while", "while"),
    ],
)
def test_names_of_operations_are_read(operation, expected):
    places = {"while/bert_x/encoder_layer_1_1/MatMul_1": "a.py:1", "sub": "b.py:2", "while": "c.py:3"}
    assert program.place(operation, places) == expected


def test_a_replica_refuses_what_is_no_sum():
    with pytest.raises(NotImplementedError, match="expected a sum over the replicas"):
        program.Replica(2).all_reduce(tf.distribute.ReduceOp.MEAN, tf.constant(1.0))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Detected unsupported operations on XLA_CPU_JIT: AsString (No registered 'AsString' OpKernel){{node sub}}",
            "operation AsString cannot be compiled, at sub (b.py:2)",
        ),
        ("Shapes must agree\nstack", "Shapes must agree"),
    ],
)
def test_a_refusal_has_the_reason_and_the_place(message, expected):
    error = program.refusal(ValueError(message), {"sub": "b.py:2"})
    assert isinstance(error, InputError)
    assert str(error) == f"the program does not compile with XLA: {expected}"
