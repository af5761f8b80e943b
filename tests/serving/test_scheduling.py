"""Scheduling in turns: batches, short requests before long ones, cancellation, refusal, the long texts' process."""

import asyncio
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
from stand_in_service import StandIn

from kobert_tf2.errors import InputError
from kobert_tf2.serving import scheduling
from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.requests import Ask
from kobert_tf2.serving.scheduling import DrainedError, Scheduler, TooManyWaitingError


def with_scheduler(service, limits, steps):
    """What `await steps(scheduler)` gives."""

    async def run():
        scheduler = Scheduler(service, limits)
        scheduler.start()
        try:
            return await steps(scheduler)
        finally:
            await scheduler.close()

    return asyncio.run(run())


def ask_together(service, limits, questions):
    """Puts all questions in before the first is computed; returns answers or exceptions."""

    async def steps(scheduler):
        asks = [Ask(question, context) for question, context in questions]
        return await asyncio.gather(*(scheduler.run(ask) for ask in asks), return_exceptions=True)

    return with_scheduler(service, limits, steps)


@pytest.fixture
def reader():
    return StandIn()


def test_questions_that_come_together_are_computed_together_and_none_is_lost():
    reader = StandIn(seconds=0.001)
    answers = ask_together(reader, Limits(), [(f"{n}?", f"답{n} 둘") for n in range(60)])
    assert [answer["text"] for answer in answers] == [f"답{n}" for n in range(60)]
    assert sum(map(len, reader.calls)) == 60
    assert len(reader.calls) < 40


def test_a_turn_is_bounded_in_time_by_the_speed_of_the_turns_before():
    size = scheduling._TurnSize()
    for _ in range(20):
        size.add(size.tokens, size.tokens / 10_000)
    assert size.tokens == pytest.approx(10_000 * scheduling.TURN_SECONDS, rel=0.01)
    for _ in range(20):
        size.add(512, 10.0)
    assert size.tokens == pytest.approx(51.2 * scheduling.TURN_SECONDS, abs=1)


def test_a_short_question_is_answered_between_the_windows_of_long_ones():
    reader = StandIn(seconds=0.02, characters=10)

    async def steps(scheduler):
        long = [asyncio.ensure_future(scheduler.run(Ask("길다", "가" * 3000))) for _ in range(3)]
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        await scheduler.run(Ask("?", "나"))
        seconds = time.perf_counter() - began
        assert not any(one.done() for one in long)
        for one in long:
            one.cancel()
        return seconds

    # The three long requests take 18 seconds.
    assert with_scheduler(reader, Limits(), steps) < 2


def test_long_ones_come_to_their_end_while_short_ones_keep_coming():
    reader = StandIn(seconds=0.002, characters=10)

    async def steps(scheduler):
        long = asyncio.ensure_future(scheduler.run(Ask("길다", "가" * 300)))

        async def keep_asking():
            while not long.done():
                await scheduler.run(Ask("?", "나"))

        await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(40))), 30)
        return long.result()

    assert with_scheduler(reader, Limits(), steps)["text"] == "가" * 300


@pytest.mark.parametrize("short", [16, 96])
def test_the_oldest_gets_a_quarter_of_the_tokens_whatever_keeps_coming(short):
    scheduler = Scheduler(StandIn(), Limits())
    served = {"old": 0, "new": 0}
    old = job(windows=10_000, width=384, order=0)
    for order in range(1, 4000):
        new = job(windows=1, width=short, order=order)
        while new.left:
            chosen = scheduler._next([old, new])
            scheduler._count(chosen, [old, new])
            served["old" if chosen is old else "new"] += chosen.width
            chosen.next += 1
    assert served["old"] / sum(served.values()) == pytest.approx(0.25, abs=0.02)


def test_a_new_request_goes_before_the_oldest():
    scheduler = Scheduler(StandIn(), Limits())
    old, other = job(windows=600, width=384, order=0), job(windows=500, width=384, order=1)
    for _ in range(40):
        for _ in range(10):
            chosen = scheduler._next([old, other])
            scheduler._count(chosen, [old, other])
            chosen.next += 1
        assert scheduler._next([old, other, new := job(windows=1, width=32, order=2)]) is new


def job(*, windows: int, width: int, order: int) -> scheduling._Job:
    return scheduling._Job(None, scheduling.Prepared({}, np.full(windows, width)), None, order)


def test_nothing_is_computed_any_more_for_who_has_gone():
    reader = StandIn(seconds=0.01, characters=10)

    async def steps(scheduler):
        gone = [asyncio.ensure_future(scheduler.run(Ask("gone", "가" * 3000))) for _ in range(50)]
        await asyncio.sleep(0.2)
        for one in gone:
            one.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert scheduler.waiting == 0
        await scheduler.run(Ask("?", "나"))

    with_scheduler(reader, Limits(), steps)
    assert sum(map(len, reader.calls)) < 200  # of 15,000


def test_when_too_many_wait_the_next_is_refused():
    answers = ask_together(StandIn(seconds=0.01), Limits(waiting=3), [("?", "가")] * 10)
    refused = [answer for answer in answers if isinstance(answer, TooManyWaitingError)]
    assert len(refused) == 7
    assert [answer["text"] for answer in answers[:3]] == ["가"] * 3


def test_a_drained_service_reports_those_who_wait_and_takes_no_more():
    async def steps(scheduler):
        waiting = [asyncio.ensure_future(scheduler.run(Ask("?", "가" * 3000))) for _ in range(3)]
        await asyncio.sleep(0.1)
        scheduler.drop_all()
        return await asyncio.gather(*waiting, scheduler.run(Ask("?", "나")), return_exceptions=True)

    answers = with_scheduler(StandIn(seconds=0.05, characters=10), Limits(), steps)
    assert [type(answer) for answer in answers] == [DrainedError] * 4


def test_a_mistake_in_one_request_is_not_another_ones():
    answers = ask_together(StandIn(), Limits(), [("?", "가"), ("broken", "나"), (" ", "다"), ("?", "라")])
    assert [type(answer) for answer in answers] == [dict, RuntimeError, InputError, dict]


def test_an_error_of_the_model_goes_to_all_of_its_turn_and_the_next_turn_runs():
    class Fails(StandIn):
        def forward(self, features):
            if not self.calls:
                self.calls.append([])
                raise MemoryError("no memory")
            return super().forward(features)

    async def steps(scheduler):
        first = await asyncio.gather(scheduler.run(Ask("?", "가")), return_exceptions=True)
        return *first, await scheduler.run(Ask("?", "나"))

    failed, answered = with_scheduler(Fails(), Limits(), steps)
    assert isinstance(failed, MemoryError)
    assert answered["text"] == "나"


def test_a_long_text_is_prepared_in_another_process_and_gives_the_same(reader):
    limits = Limits(short_characters=10)
    long, short, empty = ask_together(reader, limits, [("?", "가나다 " * 10), ("?", "가나"), (" " * 20, "가")])
    assert (long["text"], short["text"]) == ("가나다", "가나")
    assert isinstance(empty, InputError)


def kill_the_process_of_long_texts(scheduler):
    executor = scheduler._long_texts._workers._executor
    for process in executor._processes.values():
        process.kill()
    return executor


def test_a_process_that_is_killed_costs_the_text_it_works_on_alone():
    async def steps(scheduler):
        await scheduler.run(Ask("?", "가나다 " * 10))
        slow = asyncio.create_task(scheduler.run(Ask("sleep", "가나다 " * 10)))
        await asyncio.sleep(0.3)
        kill_the_process_of_long_texts(scheduler)
        failed = await asyncio.gather(slow, return_exceptions=True)
        return failed[0], await scheduler.run(Ask("?", "가나다 " * 10))

    failed, answered = with_scheduler(StandIn(), Limits(short_characters=10), steps)
    assert isinstance(failed, BrokenProcessPool)
    assert answered["text"] == "가나다"


def test_a_process_that_is_killed_between_two_texts_costs_none():
    async def steps(scheduler):
        await scheduler.run(Ask("?", "가나다 " * 10))
        executor = kill_the_process_of_long_texts(scheduler)
        while not executor._broken:
            await asyncio.sleep(0.01)
        return await asyncio.gather(*(scheduler.run(Ask("?", "가나다 " * 10)) for _ in range(3)))

    answers = with_scheduler(StandIn(), Limits(short_characters=10), steps)
    assert [answer["text"] for answer in answers] == ["가나다"] * 3
