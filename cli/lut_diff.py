"""``edgecost lut diff``: where two devices, runtimes or dates disagree about one space."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .luts import space_of
from .options import INPUT_FILE, json_option, space_file_option
from .output import milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.lut_diff import LutDiff

#: Cells that the table shows; --json holds them all.
_SHOWN = 15


@click.command(epilog="Example:  edgecost lut diff nano.lut.json pi4.lut.json")
@click.argument("first", type=INPUT_FILE)
@click.argument("second", type=INPUT_FILE)
@space_file_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the networks whose order is compared.")
@json_option
def diff(first: Path, second: Path, space_name: str | None, seed: int, as_json: bool) -> None:
    """Compare two native LUT files of one space: one factor, and the cells that do not keep to it."""
    from ..costmodels.lut import Lut
    from ..costmodels.lut_diff import diff_luts

    left, right = Lut.load(first), Lut.load(second)
    found = diff_luts(left, right, space_of(left, space_name), seed=seed)
    if as_json:
        print_json(asdict(found))
        return
    _print(found)


def _print(found: LutDiff) -> None:
    for name, (before, after) in found.changed.items():
        click.echo(f"{name}: {before} → {after}")
    click.echo(
        f"The second takes {found.factor:.3f} times as long (median of {len(found.cells)} cells; half of them within"
        f" {percent(found.spread)} of that)."
    )
    if found.network_factor is not None and found.rank_networks is not None:
        click.echo(f"Networks: {found.network_factor:.3f} times, rank correlation {found.rank_networks:.3f}.")
    elif found.network_factor is None:
        click.echo("Networks are not compared: a table lacks cells of the space.")
    for keys, which in ((found.only_first, "first"), (found.only_second, "second")):
        if keys:
            click.echo(f"Only in the {which}: {', '.join(keys)}")
    print_table(
        "Layers beyond that factor",
        ["layer", "cells", "beyond"],
        [[one.layer, str(one.cells), f"{one.beyond - 1:+.1%}"] for one in found.layers],
        left=1,
    )
    marks = {None: "–", True: "apart", False: "touch"}
    print_table(
        "Cells that differ most beyond it",
        ["cell", "first", "second", "beyond", "intervals"],
        [
            [one.key, milliseconds(one.first_ms), milliseconds(one.second_ms), f"{one.beyond - 1:+.1%}",
             marks[one.intervals_apart]]
            for one in found.cells[:_SHOWN]
        ],
        left=1,
    )  # fmt: skip
