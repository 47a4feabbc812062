"""``edgecost db export``, ``import`` and ``merge``: measurements from one store to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import StoreError, UsageError
from .options import INPUT_FILE, OUTPUT_FOLDER, db_option, json_option
from .output import Talk, few, megabytes, print_json, print_table

if TYPE_CHECKING:
    from ..db import TakenOver


@click.command(epilog="Example:  edgecost db export --parquet measurements-2026-11")
@click.option("--parquet", "folder", type=OUTPUT_FOLDER, required=True, help="Folder to write, which is new or empty.")
@click.option(
    "--device", "devices", metavar="NAME", multiple=True, help="Only what was measured on it: a name or an identity."
)
@db_option
@json_option
def export(folder: Path, devices: tuple[str, ...], db_url: str | None, as_json: bool) -> None:
    """Write everything in the database as Parquet files, one for each table, for pandas, DuckDB or another database.

    Raw samples are included. The folder appears when it is complete.
    """
    from ..db import Store

    if not Store.exists(db_url):
        raise UsageError("There is no database there to export.", remedy="Name another one: --db URL")
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        done = store.export_parquet(folder, devices=devices, progress=_progress(talk, "measurements written"))
    if as_json:
        print_json(asdict(done))
        return
    print_table("Rows", ["table", "rows"], [[name.replace("_", " "), f"{rows:,}"] for name, rows in done.rows.items()])
    click.echo(f"  {done.folder}  ({megabytes(done.size_bytes)})")


@click.command("import", epilog="Example:  edgecost db import measurements-2026-11")
@click.argument("place", metavar="FOLDER_OR_FILE", type=click.Path(exists=True, path_type=Path))
@db_option
@json_option
def import_(place: Path, db_url: str | None, as_json: bool) -> None:
    """Add the measurements of an export, a folder or its manifest.json, to the database.

    What is there already stays as it is, so the same export may be imported again, also after an import that was
    stopped. The export is checked whole before anything is added.
    """
    from ..db import Store

    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        taken = store.import_parquet(place, progress=_progress(talk, "measurements read"))
        url = store.url
    _tell(taken, url, as_json)


@click.command(epilog="Example:  edgecost db merge board.sqlite")
@click.argument("other", metavar="OTHER", type=INPUT_FILE)
@db_option
@json_option
def merge(other: Path, db_url: str | None, as_json: bool) -> None:
    """Add the measurements of another SQLite database, OTHER, to the database.

    OTHER may be of an older edgecost, and in use: a copy is read, and nothing in it changes. What is there already
    stays as it is.
    """
    from ..db import Store

    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        taken = store.merge(other, progress=_progress(talk, "measurements read"))
        url = store.url
    _tell(taken, url, as_json)


def _progress(talk: Talk, title: str) -> Callable[[int, int], None]:
    def tell(count: int, total: int) -> None:
        if count == 0:
            talk.stage(title, total=total)
        else:
            talk.step("", count)

    return tell


def _tell(taken: TakenOver, url: str, as_json: bool) -> None:
    """The outcome; refused measurements are an error after all others were taken.

    Raises:
        StoreError: some were refused.
    """
    if as_json:
        print_json({"database": url, **asdict(taken)})
    else:
        click.echo(f"{taken.new:,} measurements new, {taken.known:,} known, {len(taken.refused):,} refused")
        more = {name: rows for name, rows in taken.rows.items() if rows and name != "measurement"}
        if more:
            click.echo("also new: " + ", ".join(f"{rows:,} {name.replace('_', ' ')}" for name, rows in more.items()))
        click.echo(f"  {url}")
    if taken.refused:
        raise StoreError(
            f"{len(taken.refused):,} measurements are refused: {url} has others of the same identity"
            f" ({few(taken.refused)}).",
            remedy="One side was altered after it was measured; what the database has stays.",
        )
