"""``edgecost lut export`` and ``lut formats``: a table in the form that somebody's search code reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from .format_cards import of_networks, of_operators, of_tables, show_cards
from .luts import space_of
from .options import INPUT_FILE, OUTPUT_FOLDER, json_option, space_file_option
from .output import print_json

if TYPE_CHECKING:
    from ..costmodels.lut_formats.card import Metric


@click.command("formats", epilog="Example:  edgecost lut formats")
@json_option
def list_formats(as_json: bool) -> None:
    """Every format, by the command that writes it: who reads it, what it holds, what it needs."""
    show_cards([of_tables(), of_networks(), of_operators()], as_json)


@click.command(epilog="Example:  edgecost lut export table.lut.json --format proxylessnas --out luts")
@click.argument("table", type=INPUT_FILE)
@click.option("--format", "formats", multiple=True, required=True, help="Repeat for several: edgecost lut formats.")
@click.option(
    "--metric",
    type=click.Choice(["latency", "energy", "memory"]),
    default="latency",
    show_default=True,
    help="Which numbers. Readers that only add numbers take energies (mJ) for latencies.",
)
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("."), show_default=True, help="Folder for the files.")
@space_file_option
@json_option
def export(
    table: Path, formats: tuple[str, ...], metric: str, folder: Path, space_name: str | None, as_json: bool
) -> None:
    """Write TABLE (a native LUT file) for other people's code, with a side file that says where the numbers come from.

    A table that lacks rows is not written: they are listed, and the exit code is 5.
    """
    from ..costmodels.files import make_folder
    from ..costmodels.lut import Lut
    from ..costmodels.lut_formats import lut_format

    writers = [lut_format(name) for name in formats]
    read = Lut.load(table)
    space = space_of(read, space_name)
    make_folder(folder)
    written = {
        writer.name: [str(path) for path in writer.write(read, space, folder, cast("Metric", metric))]
        for writer in writers
    }
    if as_json:
        print_json({"space": space.name, "metric": metric, "files": written})
        return
    for name, files in written.items():
        click.echo(f"{name}: {', '.join(files)}")
