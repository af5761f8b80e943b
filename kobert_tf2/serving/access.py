"""ASGI middleware that checks API keys (`--api_key_file`), for a service reachable beyond the loopback interface."""

import hmac
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.serving.bounds import refuse

_SHORTEST_KEY = 16
# The characters allowed in a bearer token (RFC 6750).
_KEY = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def read_keys(path: str) -> list[str]:
    """Reads the keys of a file, one per line; skips empty lines and lines that begin with #.

    Raises:
        InputError: there is no key, or a key is too short or has characters not allowed in a bearer token.
    """
    lines = files.read_text(path).splitlines()
    keys = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        # The message must not contain the key itself.
        if len(line) < _SHORTEST_KEY or not _KEY.fullmatch(line):
            raise InputError(
                f"{path}:{number}: expected a key of at least {_SHORTEST_KEY} characters A-Z a-z 0-9 - . _ ~ + /, "
                f"but this one has {len(line)} characters"
            )
        keys.append(line)
    if not keys:
        raise InputError(f"{path}: expected one key a line, but there is none")
    return keys


class ApiKeys:
    """Accepts only requests that carry one of `keys`, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    `public` paths need no key: the health check, and the page, which prompts for the key.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str], public: Iterable[str]):
        self._app, self._keys, self._public = app, [key.encode() for key in keys], frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._public or self._may_ask(scope):
            await self._app(scope, receive, send)
            return
        error = "expected the header Authorization: Bearer KEY with a key of this service, but there is none"
        await refuse(send, 401, error, (b"www-authenticate", b"Bearer"), (b"connection", b"close"))

    def _may_ask(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        # Compares all keys, each in constant time, so that the response time reveals nothing about them.
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0
