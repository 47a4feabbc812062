"""``edgecost lut``: build a lookup table, ask one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import UsageError
from .options import (
    INPUT_FILE,
    OUTPUT_FOLDER,
    db_option,
    json_option,
    runtime_options,
    space_file_option,
    space_options,
)
from .output import interval, megabytes, millijoules, milliseconds, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.lut import Lut, LutCell
    from ..costmodels.space import Space
    from ..db import Store


@click.group()
def lut() -> None:
    """Lookup tables: build one, query one."""


@lut.command(epilog="Example:  edgecost lut build --space ofa-mobilenetv3 --format ofa --out luts")
@space_options
@click.option("--format", "formats", multiple=True, default=("native",), show_default=True, help="Repeat for several.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("."), show_default=True, help="Folder for the files.")
@click.option("--predictor", type=OUTPUT_FOLDER, help="Predictor for cells that were not measured.")
@click.option("--measured-only", is_flag=True, help="Refuse a table with predicted cells (exit code 5).")
@runtime_options
@db_option
@json_option
def build(
    space_name: str,
    resolution: int | None,
    width: float | None,
    formats: tuple[str, ...],
    folder: Path,
    predictor: Path | None,
    measured_only: bool,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Write the lookup table of a space: measured cells, and predicted ones where nothing was measured.

    The factor from sums to whole networks is fitted when at least 3 networks of the space were measured (the
    quickstart does that).
    """
    from ..costmodels.files import make_folder
    from ..costmodels.lut_formats import lut_format
    from ..costmodels.simulated.simulation import chosen_setting
    from ..costmodels.space_file import load_space
    from ..db import Store

    writers = [lut_format(name) for name in formats]
    space = load_space(space_name, resolution=resolution, width=width)
    make_folder(folder)
    setting = chosen_setting(runtime_name, threads, db_url)
    with Store(db_url) as store:
        table = local_table(store, space, setting, predictor, measured_only=measured_only)
    files = [path for writer in writers for path in writer.write(table, space, folder)]
    if as_json:
        print_json({"space": space.name, **built_document(table, files)})
    else:
        print_built(table, files)


def local_table(
    store: Store, space: Space, setting: LocalSetting, predictor: Path | None, *, measured_only: bool
) -> Lut:
    """The table of a space on this machine, with the factor to whole networks where some were measured.

    Args:
        predictor: None for the one that `train` wrote, where it did.
    """
    from ..costmodels.cards.staleness import cheap_warnings
    from ..costmodels.device_table import device_table
    from ..costmodels.predictor_file import load_predictor

    model = None
    place = predictor or default_predictor(setting.device.identity, setting.profile)
    if not measured_only and (predictor is not None or (place / "predictor.json").exists()):
        model, provenance = load_predictor(place, metric="latency")
        for warning in cheap_warnings(provenance, setting):
            click.echo(warning, err=True)
    environment = setting.stage.environment.environment_hash
    device, profile = setting.device, setting.profile
    return device_table(store, space, device, profile, environment, model, measured_only=measured_only)


def built_document(table: Lut, files: Sequence[Path]) -> dict[str, object]:
    """A table that was written, as JSON."""
    return {
        "files": [str(path) for path in files],
        "cells": len(table),
        "sources": _sources(table),
        "scale": table.scale,
        "scale_fitted_on": table.scale_fitted_on,
    }


def _sources(table: Lut) -> dict[str, int]:
    return {source: table.source.count(source) for source in sorted(set(table.source))}


def print_others(table: Lut) -> None:
    """Energies and peaks of memory of a table, and of boards whose energies are left out why."""
    for name in ("energy", "energy_left_out", "peak_memory", "device_memory"):
        if name in table.provenance:
            click.echo(f"{name.replace('_', ' ')}: {table.provenance[name]}")


def print_built(table: Lut, files: Sequence[Path]) -> None:
    """A table that was written, for people."""
    sources = ", ".join(f"{count} {source}" for source, count in _sources(table).items())
    click.echo(f"{len(table)} cells: {sources}")
    print_others(table)
    if table.scale_fitted_on:
        click.echo(f"factor {table.scale:.4f} from {table.scale_fitted_on} whole networks")
    else:
        click.echo("no factor for whole networks: fewer than 3 networks of the space were measured")
    for path in files:
        click.echo(f"  {path}")


@lut.command(epilog="""Example:  edgecost lut query lut.json --arch '{"ks":[…20],"e":[…20],"d":[2,2,2,2,2]}'""")
@click.argument("table", type=INPUT_FILE)
@click.option("--key", "keys", multiple=True, help="A cell's key, or the beginning of several. Repeat for more.")
@click.option(
    "--arch", "archs", multiple=True, help="An architecture in the space's own form, as JSON. Repeat for more."
)
@space_file_option
@click.option("--random", "count", type=click.IntRange(min=1), help="Price this many random architectures.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --random.")
@json_option
def query(
    table: Path,
    keys: tuple[str, ...],
    archs: tuple[str, ...],
    space_name: str | None,
    count: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Ask TABLE (a native LUT file) for cells or for whole networks; without options, show all cells."""
    from ..costmodels.lut import Lut

    read = Lut.load(table)
    if archs or count:
        _query_networks(read, space_of(read, space_name), archs, count, seed, as_json)
        return
    chosen = [cell for cell in read.cells if not keys or any(cell.key.startswith(key) for key in keys)]
    if not chosen:
        raise UsageError(
            f"no cell of {table} begins with {', '.join(keys)}", remedy=f"all keys: edgecost lut query {table}"
        )
    if as_json:
        print_json({"scale": read.scale, "provenance": dict(read.provenance), "cells": [asdict(c) for c in chosen]})
        return
    device = read.provenance.get("device_description", read.provenance["device"])
    told = [name for name in ("energy", "peak_memory", "device_memory") if name in read.provenance]
    print_table(
        f"{read.provenance['space']} on {device}, {read.provenance['profile_label']}",
        ["cell", "source", "latency", "interval", "visits", *(name.replace("_", " ") for name in told)],
        [
            [
                *(c.key, c.source, milliseconds(c.latency_ms), interval(c.lo_ms, c.hi_ms)),
                *(str(c.n) if c.n else "–", *(_told(read, c, name) for name in told)),
            ]
            for c in chosen
        ],
        left=2,
    )
    click.echo(f"Intervals: {read.provenance['interval']}")
    for name in (*told, "energy_interval", "energy_left_out"):
        if name in read.provenance:
            click.echo(f"{name.replace('_', ' ').capitalize()}: {read.provenance[name]}")


def _told(table: Lut, cell: LutCell, name: str) -> str:
    if name == "peak_memory":
        return megabytes(cell.peak_memory_bytes)
    if name == "device_memory":
        return megabytes(table.device_memory_bytes.get(cell.key))
    if cell.energy_lo_mj is None or cell.energy_hi_mj is None:
        return millijoules(cell.energy_mj)
    return f"{millijoules(cell.energy_mj)} ({millijoules(cell.energy_lo_mj)} … {millijoules(cell.energy_hi_mj)})"


def space_of(read: Lut, space_name: str | None) -> Space:
    """The space of a table: a built-in one, or that of a file at the table's resolution and width."""
    from ..costmodels.space_file import load_space

    if space_name is None:
        return read.space
    resolution, width = read.provenance["resolution"], read.provenance["width"]
    return load_space(space_name, resolution=int(str(resolution)), width=float(str(width)))


def _query_networks(
    read: Lut, space: Space, archs: tuple[str, ...], count: int | None, seed: int, as_json: bool
) -> None:
    if archs and count:
        raise UsageError("--arch and --random are two ways to name networks; give one of them")
    if count:
        numeric = space.sample(count, seed)
    else:
        try:
            numeric = space.encode([json.loads(text) for text in archs])
        except json.JSONDecodeError as error:
            raise UsageError(f"--arch is not JSON: {error}") from error
    sums, prices = read.price(numeric, corrected=False, space=space), read.price(numeric, space=space)
    native = space.decode(numeric)
    if as_json:
        print_json(
            {
                "scale": read.scale,
                "scale_fitted_on": read.scale_fitted_on,
                "networks": [
                    {"arch": arch, "sum_ms": float(total), "latency_ms": float(price)}
                    for arch, total, price in zip(native, sums, prices, strict=True)
                ],
            }
        )
        return
    rows = [
        [json.dumps(arch, separators=(",", ":")), milliseconds(float(total)), milliseconds(float(price))]
        for arch, total, price in zip(native, sums, prices, strict=True)
    ]
    print_table(
        f"Factor {read.scale:.4f} from {read.scale_fitted_on} networks", ["architecture", "Σ LUT", "corrected"], rows
    )
