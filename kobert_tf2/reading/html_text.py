"""The text of a piece of HTML, without its tags: KorQuAD 2's answers hold tags, and its scorer takes them off.

The official scorer asks BeautifulSoup; this asks Python's own parser, so that nothing need be installed. They were
compared on fragments of pages (`tests/reading/test_html_text.py`); white space may differ, which the scorer ignores.
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
    """What a reader of the page sees: no tags and comments, references such as &amp; as their characters."""
    if "<" not in markup and "&" not in markup:
        return markup
    parser = _Text()
    parser.feed(markup)
    parser.close()
    return "".join(parser.parts)


def is_page(context: str) -> bool:
    """Whether a context is a page of HTML rather than text."""
    return context.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))
