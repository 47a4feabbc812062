"""``edgecost space``: the search spaces that are built in, and what one consists of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .options import json_option
from .output import Talk, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.space import Space


@click.group()
def space() -> None:
    """Search spaces: list them, look into one, try your own."""


@space.command("list", epilog="Example:  edgecost space list")
@json_option
def list_spaces(as_json: bool) -> None:
    """The search spaces: built-in ones, and those of installed packages."""
    from ..costmodels.space_file import load_space, plugin_space_names, space_names

    spaces = [load_space(name) for name in dict.fromkeys([*space_names(), *plugin_space_names()])]
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
        [[one.name, one.title, f"{len(one.measurable):,}", _count(one.size), input_of(one)] for one in spaces],
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
        f"{one.title}, {input_of(one)}: {len(one.measurable)} cells to measure",
        ["layer", "cell", "kind"],
        [[cell.layer, cell.key, cell.kind] for cell in one.cells],
        left=3,
    )
    click.echo(f"{len(one.positions)} positions, {_count(one.size)} architectures. {one.citation}")


@space.command(epilog="Example:  edgecost space check my_space.toml")
@click.argument("name", metavar="NAME|FILE")
@click.option("--resolution", type=int, metavar="PX", help="Input size.  [default: the space's own]")
@click.option("--width", type=float, help="Width multiplier.  [default: the space's own]")
@click.option("--cells", type=click.IntRange(min=1), help="Build this many cells, drawn at random.  [default: all]")
@click.option("--networks", type=click.IntRange(min=0), default=3, show_default=True, help="Run this many networks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of what is drawn.")
@json_option
def check(
    name: str,
    resolution: int | None,
    width: float | None,
    cells: int | None,
    networks: int,
    seed: int,
    as_json: bool,
) -> None:
    """Try a search space: build its cells, translate architectures, run random networks in ONNX Runtime."""
    from ..costmodels.space_check import check_space
    from ..costmodels.space_file import load_space

    one = load_space(name, resolution=resolution, width=width)
    planned = min(cells or len(one.measurable), len(one.measurable)) + 1 + min(networks, one.size)
    with Talk(quiet=as_json) as talk:
        talk.stage("checking", planned)
        found = check_space(one, cells=cells, networks=networks, seed=seed, progress=talk.step)
    if as_json:
        print_json(asdict(found))
        return
    size = _count(found.size)
    click.echo(f"{found.name}: {found.positions} choices, {size} architectures, {found.cells} cells to measure.")
    click.echo(f"{found.built} cells were built at the shapes they promise; no two of them are one graph.")
    click.echo(f"{found.roundtrips} architectures were written in the space's own form and read again.")
    click.echo(f"{found.networks} random networks ran in ONNX Runtime with finite outputs.")
    if found.too_large:
        click.echo(
            f"{found.too_large} networks have more than 512 MiB of weights; their shapes were inferred, no more."
        )
    if not found.is_chain:
        click.echo("Cells depend on several choices: advice, few-shot transfer and recognition do not take the space.")


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**6 else f"{number:.2e}"


def input_of(one: Space) -> str:
    """Size and kind of the first input, for people."""
    _, channels, *sides = (*one.input_shape, 0) if len(one.input_shape) == 2 else one.input_shape
    if len(one.input_shape) == 2:
        return f"{one.resolution} tokens"
    if len(sides) == 1:
        return f"{one.resolution} samples" if channels == 1 else f"{one.resolution} frames of {channels}"
    if sides[0] != sides[1]:
        return f"{one.resolution} frames of {sides[0]} bands"
    return f"{one.resolution} px, w{one.width:g}"
