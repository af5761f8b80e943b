"""What a graph is traced for belongs to a block of code and to a thread."""

import threading

import pytest

from kobert_tf2.bert.kernels import tracing


def test_contexts_nest_and_end_with_their_block():
    assert not tracing.is_for_cpu()
    with tracing.for_cpu(final_weights=True):
        assert tracing.weights_are_final()
        with tracing.for_cpu():
            assert not tracing.weights_are_final()
        with tracing.for_cpu(False, final_weights=True):
            assert not tracing.is_for_cpu()
            assert not tracing.weights_are_final()
        assert tracing.weights_are_final()
    with pytest.raises(ZeroDivisionError), tracing.for_cpu():
        raise ZeroDivisionError
    assert not tracing.is_for_cpu()


def test_a_context_is_not_seen_by_other_threads():
    """MirroredStrategy traces its replicas in threads, and a service may export in one while it answers in another."""
    seen = []
    with tracing.for_cpu(final_weights=True):
        thread = threading.Thread(target=lambda: seen.append((tracing.is_for_cpu(), tracing.weights_are_final())))
        thread.start()
        thread.join()
    assert seen == [(False, False)]
