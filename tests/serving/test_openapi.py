"""The service conforms to its own OpenAPI document: schemathesis generates valid and invalid requests from it.

No request gets a 5xx, and every response has a status, a content type and a schema that the document specifies.
"""

import contextlib

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
schemathesis = pytest.importorskip("schemathesis", reason="the extra 'test' is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from loopback_server import serving  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from stand_in_service import StandIn  # noqa: E402

from kobert_tf2.serving import requests, schemas  # noqa: E402


class Entities(StandIn):
    path, response_model = "/entities", schemas.Entities

    def request_model(self, limits):
        return schemas.text_model(limits)

    def request(self, fields):
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        entity = {"text": ask.context[:1], "type": "PS", "start": 0, "end": 1, "score": 0.5}
        return {"entities": [entity][: len(ask.context)]}


class Classes(StandIn):
    path, response_model = "/classify", schemas.Classification

    def request_model(self, limits):
        return schemas.pair_model(limits)

    def request(self, fields):
        return requests.Ask("?", fields["text"])

    def finish(self, ask, prepared, rows):
        return {"label": "가", "score": 0.5, "scores": {"가": 0.5}}


@pytest.fixture(scope="module", params=[StandIn, Entities, Classes], ids=lambda service: service.path[1:])
def interface(request):
    with serving(request.param(), question_characters=200, context_characters=3000) as server:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_request_is_answered_as_the_document_says(interface, mode):
    """Its own pytest plugin does not run with every pytest: its strategies do."""
    seen = []
    for result in interface.get_all_operations():
        operation = result.ok()
        examples = 30 if operation.method == "post" else 3

        @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_it_says(case):
            seen.append(case.call_and_validate().status_code)

        with contextlib.suppress(Unsatisfiable):  # an operation without parameters has no invalid ones
            answers_as_it_says()
    assert seen
    assert all(400 <= status < 500 if mode == GenerationMode.NEGATIVE else status == 200 for status in seen)
