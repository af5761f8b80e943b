"""The page /docs, interactive documentation of the API: Swagger UI served from a package, with no external resources.

FastAPI's own page loads its script and style from a content delivery network. The package fastapi-offline contains the
same files. The start-up script is a separate file instead of inline, so that the strict security headers of the
service's main page apply here too.
"""

import importlib.resources
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from kobert_tf2.serving.http_page import HEADERS

_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kobert_tf2: HTTP interface</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """"use strict";
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset], layout: "BaseLayout" });
"""
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def add_docs(app: FastAPI) -> None:
    """Adds /docs and its files; raises ImportError if fastapi-offline is not installed."""
    folder = importlib.resources.files("fastapi_offline") / "static"
    for path, content, kind in (("/docs", _HTML, "text/html"), ("/docs/start.js", _START, "text/javascript")):
        app.add_api_route(path, _sender(content, kind), include_in_schema=False)
    for name, kind in _ASSETS.items():
        app.add_api_route(f"/docs/{name}", _file_sender(str(folder / name), kind), include_in_schema=False)


def _sender(content: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return send


def _file_sender(path: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return FileResponse(path, media_type=kind, headers=HEADERS)

    return send
