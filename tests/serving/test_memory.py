"""Memory is returned to the system when the service is idle, and only then."""

import asyncio

from kobert_tf2.serving import memory


def test_it_is_trimmed_once_after_work(monkeypatch):
    trimmed = []
    monkeypatch.setattr(memory, "trim", lambda: trimmed.append(True))
    monkeypatch.setattr(memory, "_EVERY_SECONDS", 0.01)
    counts = {"done": 0, "in_work": 0}

    async def run() -> list[int]:
        task = asyncio.create_task(memory.trim_when_idle(lambda: counts["done"], lambda: counts["in_work"]))
        seen = []
        for done, in_work in ((0, 0), (1, 1), (1, 0), (1, 0)):
            counts.update(done=done, in_work=in_work)
            await asyncio.sleep(0.1)
            seen.append(len(trimmed))
        task.cancel()
        return seen

    assert asyncio.run(run()) == [0, 0, 1, 1]


def test_trimming_works_here():
    memory.trim()
