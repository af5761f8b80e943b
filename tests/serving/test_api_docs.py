"""The page /docs: it loads no external resources and has the same strict headers as the main page."""

import re

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from stand_in_service import StandIn  # noqa: E402

from kobert_tf2.serving import http, http_page  # noqa: E402


def test_the_page_and_its_files_come_from_here():
    with testclient.TestClient(http.make_app(StandIn())) as client:
        page = client.get("/docs")
        assert not re.findall(r"https?://", page.text)
        paths = re.findall(r'(?:src|href)="([^":]+)"', page.text)
        assert len(paths) == 3
        for path in ("docs", *paths):
            response = client.get(f"/{path}")
            assert response.status_code == 200, path
            assert len(response.content) > 100
            for name, value in http_page.HEADERS.items():
                assert response.headers[name] == value
        assert "<script>" not in page.text
        assert client.get("/redoc").status_code == 404
