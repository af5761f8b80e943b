"""A hub on the loopback interface for the real `huggingface_hub` client: serves a model's commits, tree and files."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import threading
import urllib.parse

NAME = "owner/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = {"main": COMMIT, "v2": "89abcdef0123456789abcdef0123456789abcdef", "v3": "f" * 40}


class _Hub(http.server.BaseHTTPRequestHandler):
    folders: dict[str, pathlib.Path]  # by commit
    asked: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(self.path)
        parts = urllib.parse.unquote(self.path.split("?")[0]).split("/")
        if parts[1:5] == ["api", "models", *NAME.split("/")]:
            return self._about(parts[5] if len(parts) > 5 else "revision", parts[6] if len(parts) > 6 else "main")
        if parts[1:4] == [*NAME.split("/"), "resolve"]:
            folder = self.folders.get(REVISIONS.get(parts[4], parts[4]))
            if folder is not None and (folder / parts[5]).is_file():
                return self._file(folder, parts[5])
            return self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _about(self, what: str, revision: str):
        commit = REVISIONS.get(revision, revision)
        if commit not in self.folders:
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        entries = sorted(self.folders[commit].iterdir())
        if what == "tree":
            return self._json(
                [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": _etag(f)} for f in entries]
            )
        return self._json({"id": NAME, "sha": commit, "siblings": [{"rfilename": file.name} for file in entries]})

    def _json(self, value):
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, folder: pathlib.Path, name: str):
        commit = next(commit for commit, other in self.folders.items() if other == folder)
        headers = {"ETag": f'"{_etag(folder / name)}"', "X-Repo-Commit": commit}
        self._answer(200, (folder / name).read_bytes(), headers)

    def _answer(self, status: int, body: bytes, headers: dict):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def _etag(file: pathlib.Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def serve(folder: pathlib.Path, **revisions: pathlib.Path):
    """Serves a folder as `owner/tiny` (other folders as its `revisions`): yields (endpoint, the paths asked for)."""
    folders = {COMMIT: folder, **{REVISIONS[name]: other for name, other in revisions.items()}}
    handler = type("Hub", (_Hub,), {"folders": folders, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    finally:
        server.shutdown()
