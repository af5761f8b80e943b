"""The HTTP service's single page, in Korean and English: a form for the model's input, and its output.

It loads no external resources, and inserts text only as text: nothing from a model or a user is interpreted as markup.
Its files are in the folder `page`: those that all models share, and a form and a script for each kind.
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
PATHS = ("/", "/page.css", "/page.js", "/view.js")
# The script of a kind's page, if it is not named after the kind.
_SCRIPTS = {"sentence": "classification", "pair": "classification"}
_RESULT = "<!-- result -->\n"


def files(kind: str) -> dict[str, tuple[str, str]]:
    """{path: (content, content type)} of the page for a kind of model, one of `services.HttpService.kind`."""
    fields, _, result = _read(f"{kind}.html").partition(_RESULT)
    page = _read("index.html").replace("<!-- fields -->\n", fields).replace(_RESULT, result)
    script = "text/javascript; charset=utf-8"
    contents = ((page, "text/html; charset=utf-8"), (_read("page.css"), "text/css; charset=utf-8"))
    return dict(
        zip(
            PATHS,
            (*contents, (_read("page.js"), script), (_read(f"{_SCRIPTS.get(kind, kind)}.js"), script)),
            strict=True,
        )
    )


def _read(name: str) -> str:
    return (importlib.resources.files("kobert_tf2.serving") / "page" / name).read_text(encoding="utf-8")
