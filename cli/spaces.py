"""``edgecost space``: the search spaces that are built in, and what one consists of."""

from __future__ import annotations

import click

from .options import json_option
from .output import print_json, print_table


@click.group()
def space() -> None:
    """Search spaces: list them, look into one."""


@space.command("list", epilog="Example:  edgecost space list")
@json_option
def list_spaces(as_json: bool) -> None:
    """The built-in search spaces."""
    from ..costmodels.space_file import load_space, space_names

    spaces = [load_space(name) for name in space_names()]
    if as_json:
        rows = [
            {
                "name": one.name,
                "title": one.title,
                "cells": len(one.measurable),
                "architectures": one.size,
                "resolution": one.resolution,
                "width": one.width,
                "citation": one.citation,
            }
            for one in spaces
        ]
        print_json({"spaces": rows})
        return
    print_table(
        "Search spaces",
        ["name", "title", "cells", "architectures", "input"],
        [
            [one.name, one.title, str(len(one.measurable)), f"{one.size:.2e}", f"{one.resolution} px, w{one.width:g}"]
            for one in spaces
        ],
        left=2,
    )


@space.command(epilog="Example:  edgecost space show ofa-mobilenetv3 --width 1.2")
@click.argument("name")
@click.option("--resolution", type=int, metavar="PX", help="Input size.  [default: the space's own]")
@click.option("--width", type=float, help="Width multiplier.  [default: the space's own]")
@json_option
def show(name: str, resolution: int | None, width: float | None, as_json: bool) -> None:
    """The cells of the space NAME (a built-in name or a TOML file)."""
    from ..costmodels.space_file import load_space

    one = load_space(name, resolution=resolution, width=width)
    if as_json:
        cells = [
            {
                "key": cell.key,
                "layer": cell.layer,
                "kind": cell.kind,
                "input_shape": list(cell.input_shape),
                "output_shape": list(cell.output_shape),
                **cell.params,
            }
            for cell in one.cells
        ]
        print_json({"name": one.name, "resolution": one.resolution, "width": one.width, "cells": cells})
        return
    print_table(
        f"{one.title}, {one.resolution} px, width {one.width:g}: {len(one.measurable)} cells to measure",
        ["layer", "cell", "kind"],
        [[cell.layer, cell.key, cell.kind] for cell in one.cells],
        left=3,
    )
    click.echo(f"{len(one.positions)} positions, {one.size:.3e} architectures. {one.citation}")
