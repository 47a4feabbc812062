"""``edgecost quickstart``: the whole job on this machine in a few minutes, with a table that says how true it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .accuracy import print_accuracy
from .controls import control_option
from .options import OUTPUT_FOLDER, db_option, json_option
from .output import Talk, milliseconds, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.quickstart import Quickstart
    from ..costmodels.validation import Accuracy


@click.command(epilog="Example:  edgecost quickstart --out my-luts   (a second run reuses what is measured)")
@click.option("--space", "space_name", default="ofa-mobilenetv3", show_default=True, help="Search space.")
@click.option("--resolution", type=int, metavar="PX", help="Input size.  [default: the space's own]")
@click.option("--width", type=float, help="Width multiplier.  [default: the space's own]")
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("edgecost-quickstart"), show_default=True)
@control_option
@db_option
@json_option
def quickstart(
    space_name: str, resolution: int | None, width: float | None, folder: Path, db_url: str | None, as_json: bool
) -> None:
    """From a search space to a LUT of this machine, judged against whole networks, in minutes.

    Measures the blocks of the space on one CPU through ONNX Runtime, trains a LightGBM predictor, writes the lookup
    table in edgecost's own form and in the one that once-for-all reads, and compares its sums with 16 whole networks.
    """
    from ..costmodels.files import make_folder
    from ..costmodels.quickstart import run_quickstart
    from ..costmodels.space_file import load_space
    from ..db import Store

    space = load_space(space_name, resolution=resolution, width=width)
    make_folder(folder)
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        done = run_quickstart(store, space, folder, talk)
    if as_json:
        print_json(_document(done, store.url))
    else:
        _print(done, store.url, folder, space_name)


def _document(done: Quickstart, database: str) -> dict[str, object]:
    correction = done.correction
    return {
        "space": done.space.name,
        "device": done.setting.device.description,
        "profile": done.setting.profile.label,
        "database": database,
        "files": [str(path) for path in done.files],
        "cells": done.cells.document(),
        "training": done.training.document(),
        "lut_cells": len(done.lut),
        "scale": correction.scale,
        "networks": [{**asdict(row), "error_percent": row.error_percent} for row in correction.rows],
        "uncorrected": _accuracy(correction.uncorrected),
        "fitted": _accuracy(correction.fitted),
        "judged": _accuracy(correction.judged),
        "stages": [asdict(stage) for stage in done.stages],
    }


def _accuracy(value: Accuracy | None) -> dict[str, object] | None:
    return None if value is None else asdict(value)


def _print(done: Quickstart, database: str, folder: Path, space_name: str) -> None:
    setting, training, correction = done.setting, done.training, done.correction
    click.echo(f"\nMeasured on  {setting.device.description}")
    click.echo(f"       with  {setting.profile.label}, pinned to CPU {', '.join(map(str, setting.stage.cpus))}\n")
    print_accuracy(
        f"{training.cells} cells of {done.space.title}, each predicted by a model that had not seen it", training
    )
    click.echo()
    print_table(
        f"{len(correction.rows)} whole networks against the LUT; factor {correction.scale:.4f} from those marked fit",
        ["network", "role", "Σ LUT", "corrected", "measured", "error"],
        [
            [
                row.arch,
                row.role,
                milliseconds(row.sum_ms),
                milliseconds(row.corrected_ms),
                milliseconds(row.measured_ms),
                f"{row.error_percent:+.2f} %",
            ]
            for row in correction.rows
        ],
        left=2,
    )
    _print_verdict(done)
    print_table(
        "Stages",
        ["stage", "time", "peak memory"],
        [[stage.name, f"{stage.wall_s:.1f} s", f"{stage.peak_memory_mb:.0f} MB"] for stage in done.stages],
    )
    click.echo("Files")
    for path in (database, *done.files):
        click.echo(f"  {path}")
    click.echo("\nNext")
    table = next(path for path in done.files if path.suffix == ".json")
    # A table knows the name of its space; only a built-in one can be found by that.
    space = f" --space {space_name}" if space_name.endswith(".toml") else ""
    click.echo(f"  edgecost lut query {table} --random 5{space}")
    click.echo(f"  edgecost predict {folder / 'example.onnx'} --predictor {folder / 'predictor'}")
    click.echo("  edgecost campaign run --space proxylessnas --budget 60s")


def _print_verdict(done: Quickstart) -> None:
    low, middle, high = done.prices_ms
    correction = done.correction
    for name, value in (
        ("judge networks, corrected", correction.judged),
        ("fit networks, corrected", correction.fitted),
        ("judge networks, Σ as it is", correction.uncorrected),
    ):
        if value is not None:
            rho = "–" if value.spearman is None else f"{value.spearman:.3f}"
            click.echo(
                f"{name:28} mean absolute error {value.mape_percent:5.2f} %,"
                f" worst {value.worst_percent:5.2f} %, Spearman ρ {rho}"
            )
    click.echo(
        f"\n{done.networks_priced:,} random networks priced in {done.pricing_s * 1000:.1f} ms:"
        f" {milliseconds(low)} … {milliseconds(high)}, median {milliseconds(middle)}.\n"
    )
