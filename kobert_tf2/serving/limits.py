"""The limits that the service places on clients: sizes, counts and durations."""

import dataclasses
import math

# UTF-8 needs up to four bytes a character, and JSON may escape one as \uXXXX\uXXXX.
_BYTES_A_CHARACTER = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on requests, connections and time.

    Attributes:
        question_characters, context_characters: the maximum lengths of a request's texts.
        attention_tokens: the maximum number of tokens of a text whose attention weights are shown; the response grows
            with its square.
        short_characters: longer requests are prepared in a separate process, a few at a time.
        waiting: the maximum number of requests in progress or waiting; further ones get a 503.
        long_at_once: the maximum number of long requests with their windows in memory at the same time.
        connections: the maximum number of open connections; to admit a new one beyond it, the connection that has
            waited longest for its client is closed.
        per_address: the maximum number of requests in progress, and half the maximum number of connections, of one
            client address; None for no limit. Loopback addresses are not counted unless `count_loopback` is set, since
            a reverse proxy connects from there.
        header_seconds, body_seconds: the time limits for a client to send a request's headers, and its body.
        total_seconds: the time limit for processing a request; after that it is dropped with a 503.
        unfinished_bytes: the maximum total size of bodies still being received from all clients; beyond it the largest
            of them is refused.
    """

    question_characters: int = 1_000
    context_characters: int = 100_000
    attention_tokens: int = 128
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
        """The maximum size of a request's body, in any JSON encoding."""
        return _BYTES_A_CHARACTER * (self.question_characters + self.context_characters) + 1_000

    def most_of(self, address: str) -> float:
        """The maximum number of requests in progress from this client address."""
        if self.per_address is None or (is_loopback(address) and not self.count_loopback):
            return math.inf
        return self.per_address


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost") or address.startswith("::ffff:127.")
