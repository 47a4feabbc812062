"""A report's page, taken apart as a browser does: its tags, links, pictures and tables."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.title = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        told = {name: value or "" for name, value in attrs}
        self.links += [told[name] for name in ("src", "href", "xlink:href", "data", "action", "srcset") if name in told]
        self.ids += [told["id"]] if "id" in told else []
        if tag == "svg":
            assert told.get("role") == "img"
            self.labels.append(told["aria-label"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if self._open and self._open[-1] == "title":
            self.title += data

    def row(self, *begin: str) -> list[str]:
        """The only row that begins so."""
        (found,) = [row for row in self.rows if row[: len(begin)] == list(begin)]
        return [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in found]
