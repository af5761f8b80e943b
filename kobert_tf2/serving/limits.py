"""What one client may ask of the service, and for how long."""

import dataclasses
import math

# UTF-8 needs up to four bytes a character, and JSON may spell one as \uXXXX\uXXXX.
_BYTES_A_CHARACTER = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of requests, connections and time.

    Attributes:
        question_characters, context_characters: the longest texts of a request.
        short_characters: a longer request is prepared in a process of its own, a few at a time.
        waiting: requests that may be in work or wait; the next one is answered with 503.
        long_at_once: long requests whose windows are in memory at the same time.
        connections: open connections at most; for a new one, the one that has waited longest for its client is closed.
        per_address: requests in work and connections (twice as many) of one client address; None for no limit. The
            loopback addresses are not counted unless `count_loopback` is set: a proxy in front connects from there.
        header_seconds, body_seconds: how long a client may take to send a request's headers, and its body.
        total_seconds: how long a request may be in work; then it is answered with 503 and dropped.
        unfinished_bytes: bytes of bodies that are still coming in, all clients together; beyond it the largest of them
            is refused.
    """

    question_characters: int = 1_000
    context_characters: int = 100_000
    short_characters: int = 4_000
    waiting: int = 512
    long_at_once: int = 4
    connections: int = 1_000
    per_address: int | None = 64
    count_loopback: bool = False
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    total_seconds: float = 300.0
    unfinished_bytes: int = 64_000_000

    @property
    def body_bytes(self) -> int:
        """A body of the longest request, however it is spelled."""
        return _BYTES_A_CHARACTER * (self.question_characters + self.context_characters) + 1_000

    def most_of(self, address: str) -> float:
        """How many requests of this client address may be in work."""
        if self.per_address is None or (is_loopback(address) and not self.count_loopback):
            return math.inf
        return self.per_address


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost") or address.startswith("::ffff:127.")
