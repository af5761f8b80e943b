"""Extracts the text of an HTML fragment: KorQuAD 2's answers contain tags, and its scorer removes them.

The official scorer uses BeautifulSoup; this module uses Python's own parser, so nothing needs to be installed. The two
were compared on fragments of pages (`tests/reading/test_html_text.py`); only white space may differ, and the scorer
ignores it.
"""

import html.parser

_UNSEEN = ("script", "style", "template")


class _Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def text_of(markup: str) -> str:
    """The visible text: without tags, comments, scripts and styles, with references such as &amp; decoded."""
    if "<" not in markup and "&" not in markup:
        return markup
    parser = _Text()
    parser.feed(markup)
    parser.close()
    return "".join(parser.parts)


def is_page(context: str) -> bool:
    """Whether a context is an HTML page rather than plain text."""
    return context.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))
