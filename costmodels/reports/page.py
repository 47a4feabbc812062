"""Lays a report out: one HTML page without scripts and without anything to fetch, and each picture as SVG and PNG.

Same report, same bytes: there is no date of today in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from ...profiler.records import Json
from ..files import make_folder, write_atomically
from ..pictures import drawing, plain_text, png_bytes, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HERE = Path(__file__).parent
_TAG = re.compile(r"<[^<>]*>")
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
#: What a picture inside a page does without: the page says that it is SVG.
_NAMESPACE = re.compile(r'\sxmlns(:\w+)?="[^"]*"')
_ID = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'(?:xlink:)?href="#([^"]*)"|url\(#([^)]*)\)')
_SIGNS = re.compile(r"[^\w.-]+")
_NAME_LENGTH = 60


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: of its files, without the ending; one of a kind in its report.
        alt: what it shows, in words, for who does not see it.
        draw: makes the figure, within ``pictures.drawing``.
    """

    name: str
    alt: str
    draw: Callable[[], Figure] = field(repr=False)


@dataclass(frozen=True)
class Table:
    """A table of texts; the head of a column of numbers has their unit.

    Attributes:
        left: how many columns from the left are text; the others are numbers.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order."""

    title: str
    lead: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        kind: ``device``, ``campaign``, ``model`` or ``comparison``.
        subject: what it is of; names its files.
        facts: names and values at its head.
        data: the same for machines.
    """

    kind: str
    subject: str
    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    data: Mapping[str, Json] = field(repr=False)

    @property
    def file_name(self) -> str:
        """Of its page, where no other is named."""
        subject = _SIGNS.sub("-", self.subject).strip("-.")[:_NAME_LENGTH]
        return f"report-{self.kind}-{subject}.html" if subject else f"report-{self.kind}.html"

    @property
    def pictures(self) -> list[Picture]:
        return [picture for section in self.sections for picture in section.pictures]


def page_html(report: Report) -> str:
    """The page.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_finalize,
    )  # fmt: skip
    # What matplotlib made is markup, and escaped by it.
    drawn = {picture.name: Markup(_inline(_svg(picture), picture)) for picture in report.pictures}
    return environment.get_template("report.html").render(report=report, drawn=drawn)


def write_page(report: Report, path: Path) -> Path:
    """Write the page.

    Raises:
        OutputError: it cannot be written.
    """
    return write_atomically(path, page_html(report))


def write_pictures(report: Report, folder: Path) -> list[Path]:
    """Write each picture as SVG and as PNG; the files, in the order of the page.

    Raises:
        OutputError: they cannot be written.
    """
    make_folder(folder)
    written = []
    for picture in report.pictures:
        written.append(write_atomically(folder / f"{picture.name}.svg", _svg(picture)))
        with drawing():
            png = png_bytes(picture.draw())
        written.append(write_atomically(folder / f"{picture.name}.png", png))
    return written


def _svg(picture: Picture) -> str:
    with drawing():
        return svg_text(picture.draw())


def _inline(svg: str, picture: Picture) -> str:
    """A picture as it may stand among others in a page: no address in it, and ids of its own."""

    def own(match: re.Match[str]) -> str:
        tag = _NAMESPACE.sub("", match.group())
        tag = _ID.sub(lambda one: f'id="{picture.name}-{one.group(1)}"', tag)
        return _REFERENCE.sub(
            lambda one: f'href="#{picture.name}-{one.group(1)}"' if one.group(1) else f"url(#{picture.name}-{one[2]})",
            tag,
        )

    # Only within tags: what a user calls something may look like an attribute.
    body = _TAG.sub(own, _METADATA.sub("", svg[svg.index("<svg") :]))
    return f'<svg role="img" aria-label="{Markup.escape(plain_text(picture.alt))}"{body[len("<svg") :]}'


def _finalize(value: object) -> object:
    """Text without what no page may hold; markup of ours as it is."""
    return plain_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
