"""``edgecost report``: what is known of a device, a campaign, a model or a comparison as one page for a browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..profiler.errors import OutputError, UsageError
from .options import db_option, json_option
from .output import print_json

if TYPE_CHECKING:
    from ..costmodels.reports.page import Report
    from ..db import Store

Decorated = TypeVar("Decorated", bound=Callable[..., object])

_PAGES = (".html", ".htm")


def _page_options(command: Decorated) -> Decorated:
    """Where a report goes."""
    for option in (
        json_option,
        click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser."),
        click.option(
            "--pictures",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Write each picture as SVG and PNG, too.",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE.html",
            help="The page.  [default: report-KIND-NAME.html here; none with --json alone]",
        ),
    ):
        command = option(command)
    return command


@click.group()
def report() -> None:
    """Reports as one page: no script, nothing fetched, readable on paper.

    The same data give the same bytes: a report can be kept beside them and compared.
    """


@report.command(epilog="Example:  edgecost report device nano-1 --open")
@click.argument("name", metavar="NAME")
@db_option
@_page_options
def device(
    name: str, db_url: str | None, output: Path | None, pictures: Path | None, is_opened: bool, as_json: bool
) -> None:
    """What was measured on a device, how often in vain, and whether it is what it was.

    NAME is its name or the beginning of its identity.
    """
    from ..costmodels.reports.device import read_device
    from ..costmodels.reports.device_page import device_report

    _check(output)
    with _opened(db_url) as store:
        told = read_device(store, name)
    _hand_over(device_report(told), output, pictures, is_opened, as_json)


@report.command(epilog="Example:  edgecost report campaign tiny-32 --pictures pictures")
@click.argument("name", metavar="NAME")
@db_option
@_page_options
def campaign(
    name: str, db_url: str | None, output: Path | None, pictures: Path | None, is_opened: bool, as_json: bool
) -> None:
    """How far a campaign is, what failed and why, what was measured and how surely.

    NAME is its name, the beginning of it, or its number: see `edgecost campaign list`.
    """
    from ..costmodels.reports.campaign import read_campaign
    from ..costmodels.reports.campaign_page import campaign_report

    _check(output)
    with _opened(db_url) as store:
        told = read_campaign(store, name)
    _hand_over(campaign_report(told), output, pictures, is_opened, as_json)


@report.command(epilog="Example:  edgecost report model edgecost-quickstart/predictor -o card.html")
@click.argument("folder", metavar="FOLDER|NAME")
@_page_options
def model(folder: str, output: Path | None, pictures: Path | None, is_opened: bool, as_json: bool) -> None:
    """What a saved model is worth: predicted against measured, error by operator, what its intervals hold.

    FOLDER is where it lies, NAME its name in `edgecost models list`.
    """
    from ..costmodels.cards.model_folder import named_folder, open_folder
    from ..costmodels.predictor_folder import predictors_root
    from ..costmodels.reports.model_page import model_report

    _check(output)
    found = open_folder(named_folder(predictors_root(), folder))
    _hand_over(model_report(found), output, pictures, is_opened, as_json)


@report.command(epilog="Example:  edgecost report comparison runtime=onnxruntime runtime=tvm")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--purpose", "purposes", multiple=True, metavar="NAME", help="Only kernel, cell, network, … Repeatable.")
@db_option
@_page_options
def comparison(
    a: str, b: str, purposes: tuple[str, ...], db_url: str | None, output: Path | None, pictures: Path | None,
    is_opened: bool, as_json: bool,
) -> None:  # fmt: skip
    """Two selections of stored measurements side by side; A and B as in `edgecost compare`."""
    from ..costmodels.comparison import compare
    from ..costmodels.reports.comparison_page import comparison_report

    _check(output)
    with _opened(db_url) as store:
        found = compare(store, a, b, purposes=purposes or None)
    _hand_over(comparison_report(found), output, pictures, is_opened, as_json)


def _opened(db_url: str | None) -> Store:
    """The store; looking at it makes none.

    Raises:
        UsageError: there is none.
    """
    from ..db import Store

    if not Store.exists(db_url):
        raise UsageError("there is no database to report from", remedy="name another one: --db URL")
    return Store(db_url)


def _check(output: Path | None) -> None:
    """Before any work is done for it.

    Raises:
        UsageError: the page would not be HTML by its name.
    """
    if output is not None and output.suffix.lower() not in _PAGES:
        raise UsageError(f"{output}: a report is an .html file", remedy="name it like report.html")


def _hand_over(made: Report, output: Path | None, pictures: Path | None, is_opened: bool, as_json: bool) -> None:
    """Write, open and print."""
    from ..costmodels.reports.page import write_page, write_pictures

    is_written = output is not None or is_opened or not as_json
    page = write_page(made, output or Path(made.file_name)) if is_written else None
    drawn = [] if pictures is None else write_pictures(made, pictures)
    if as_json:
        print_json(
            {
                "kind": made.kind,
                "title": made.title,
                "page": None if page is None else str(page),
                "pictures": [str(path) for path in drawn],
                "data": dict(made.data),
            }
        )
    else:
        click.echo(f"{made.title}\n{made.lead}\n\nReport: {page}")
        if pictures is not None:
            click.echo(f"Pictures: {len(drawn)} files in {pictures}")
    if is_opened and page is not None:
        _open(page)


def _open(page: Path) -> None:
    """Show a page that was written.

    Raises:
        OutputError: this machine has no browser.
    """
    if not webbrowser.open(page.resolve().as_uri()):
        raise OutputError(f"no browser opens {page} here", remedy="copy it to a machine that has one: it is one file")
