"""ASGI middleware for a service that leaves the loopback interface: who may ask (`--api_key_file`)."""

import hmac
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from kobert_tf2 import files
from kobert_tf2.errors import InputError
from kobert_tf2.serving.bounds import refuse

_SHORTEST_KEY = 16
# Every character that may stand in a bearer token (RFC 6750).
_KEY = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def read_keys(path: str) -> list[str]:
    """The keys of a file, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        InputError: no key, or one that is short or has other characters than a bearer token may have.
    """
    lines = files.read_text(path).splitlines()
    keys = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        # The key itself stays out of the message.
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
    """Lets requests through that carry one of `keys`, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    `public` paths need none: whether the service lives, and the page, which asks for the key.
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
        # All keys are compared, each in constant time, so that the time of an answer tells nothing.
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0
