"""A service for HTTP tests that needs no model: it answers with the first words of the context, quickly or slowly."""

import dataclasses
import functools
import re
import time

from stand_in_requests import prepare

from kobert_tf2.serving import requests, schemas
from kobert_tf2.serving.services import HttpService


def first_words(ask) -> dict:
    """The first word of the context as the answer; its last syllable as a particle."""
    spans = [_span(ask, m.group(), *m.span()) for m in re.finditer(r"\S+", ask.context)][: ask.n_best]
    if not spans:
        return {"text": "", "start": 0, "end": 0, "score": 0.0, "probability": 0.0}
    return dict(spans[0], n_best=spans) if ask.n_best > 1 else spans[0]


def _span(ask, text: str, start: int, end: int) -> dict:
    span = {"text": text, "start": start, "end": end, "score": 1.5, "probability": 0.75}
    if ask.strip_josa:
        span["stripped"] = {"text": text[:-1], "start": start, "end": end - 1, "removed": ["", text[-1]]}
    return span


@dataclasses.dataclass
class StandIn(HttpService):
    """Takes `seconds` to compute a window; records the number of windows in each call of the model."""

    kind, path, summary = "reading", "/answer", "Answers a question about a text."
    response_model = schemas.Answers
    example = {"question": "무엇?", "context": "가나다"}  # noqa: RUF012

    seconds: float = 0.0
    characters: int = 1_000_000
    answer: object = staticmethod(first_words)

    def __post_init__(self):
        self.calls, self.prepare = [], functools.partial(prepare, characters=self.characters)

    def request_model(self, limits):
        return schemas.question_model(limits)

    def request(self, fields):
        return requests.Ask(**fields)

    def forward(self, features):
        questions = features["input_ids"][:, 0]
        self.calls.append(questions.tolist())
        time.sleep(self.seconds * len(questions))
        return {"question": questions}

    def finish(self, ask, prepared, rows):
        if "broken" in ask.question:
            raise RuntimeError("a mistake of ours")
        assert [int(row["question"]) for row in rows] == [len(ask.question)] * len(prepared.lengths)
        return self.answer(ask)
