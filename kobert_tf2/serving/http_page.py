"""The HTTP service's page, in Korean and English: a form for the model's input, and its output.

The kinds of services that share it are its tabs, each a page of its own address. It loads no external resources, and
inserts text only as text: nothing from a model or a user is interpreted as markup. Its files are in the folder `page`:
those that all kinds share, and a form and a script for each kind.
"""

import importlib.resources

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
# The scripts and pages of kinds that are not named after them.
_SCRIPTS = {
    "sentence": "classification",
    "pair": "classification",
    "attention_pair": "attention",
    "search_file": "search",
}
# The kinds that may stand behind the first tab.
_TABS = ("attention", "search")
_SHARED = ("page.css", "page.js", "element.js")
PATHS = (
    "/",
    "/view.js",
    *(f"/{name}" for name in _SHARED),
    *(f"/{name}.{end}" for name in _TABS for end in ("html", "js")),
)
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_RESULT, _TAB_ROW = "<!-- result -->\n", "<!-- tabs -->\n"


def files(kind: str, *others: str) -> dict[str, tuple[str, str]]:
    """{path: (content, content type)} of the pages for kinds of services, `services.HttpService.kind`.

    The page of the first kind is `/`; the others' are `/attention.html` and `/search.html`, tabs beside it.
    """
    places = {kind: ("/", "view.js")} | {other: (f"/{_script(other)}.html", f"{_script(other)}.js") for other in others}
    found = {f"/{name}": (_read(name), _type(name)) for name in _SHARED}
    for one, (path, script) in places.items():
        page = _page(one, places).replace("view.js", script)
        found |= {path: (page, _type("x.html")), f"/{script}": (_read(f"{_script(one)}.js"), _type(script))}
    return found


def _page(kind: str, places: dict[str, tuple[str, str]]) -> str:
    fields, _, result = _read(f"{kind}.html").partition(_RESULT)
    page = _read("index.html").replace("<!-- fields -->\n", fields).replace(_RESULT, result)
    tabs = [
        f'  <a href=".{path}"{" aria-current=page" if one == kind else ""} data-tab="{one}"></a>\n'
        for one, (path, _) in places.items()
    ]
    row = f'<nav class="tabs">\n{"".join(tabs)}</nav>\n' if len(tabs) > 1 else ""
    return page.replace(_TAB_ROW, row)


def _script(kind: str) -> str:
    return _SCRIPTS.get(kind, kind)


def _type(name: str) -> str:
    return f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"


def _read(name: str) -> str:
    return (importlib.resources.files("kobert_tf2.serving") / "page" / name).read_text(encoding="utf-8")
