"""``edgecost lut fill``: a table of a grid of cells, however many there are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from .options import INPUT_FILE, OUTPUT_FOLDER, compute_options, json_option, runtime_options
from .output import Talk, milliseconds, print_json

if TYPE_CHECKING:
    from ..costmodels.grids.fill import Filled


@click.command(epilog="Example:  edgecost lut fill grid.toml --out cells.parquet")
@click.argument("grid", type=INPUT_FILE)
@click.option(
    "--out", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Table: .parquet or .csv."
)
@click.option(
    "--predictor", type=OUTPUT_FOLDER, help="Predictor.  [default: the last one that was trained for this device]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the cells that are checked.")
@compute_options
@runtime_options
@json_option
def fill(
    grid: Path,
    target: Path,
    predictor: Path | None,
    seed: int,
    jobs: int | None,
    dask_address: str | None,
    runtime_name: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Predict every cell of GRID, a TOML file of blocks and ranges of their parameters, a batch at a time.

    The runtime's optimiser is asked for some cells of each kind; how kernels follow from parameters is learnt from
    them and checked on others. Cells for which that check fails are optimised one by one, and counted. The table is the
    same wherever it was computed.
    """
    from ..costmodels.cards.staleness import cheap_warnings
    from ..costmodels.compute.chosen import chosen_pool
    from ..costmodels.grids.fill import MUCH, fill_grid
    from ..costmodels.grids.grid_file import load_grid
    from ..costmodels.predictor_file import load_predictor
    from ..costmodels.simulated.simulation import chosen_setting

    read = load_grid(grid)
    setting = chosen_setting(runtime_name, threads, None)
    place = predictor or default_predictor(setting.device.identity, setting.profile)
    model, provenance = load_predictor(place, metric="latency")
    for warning in cheap_warnings(provenance, setting):
        click.echo(warning, err=True)
    with Talk(quiet=as_json) as talk, chosen_pool(dask_address, jobs, talk.note, is_much=read.size >= MUCH) as pool:
        talk.stage(f"{read.name}: cells", total=read.size)
        filled = fill_grid(read, model, setting.profile, target, seed=seed, pool=pool, progress=talk.step)
    if as_json:
        print_json({"grid": read.name, **asdict(filled)})
        return
    _print_filled(filled)


def _print_filled(filled: Filled) -> None:
    sources = ", ".join(f"{count:,} {source}" for source, count in filled.sources.items() if count)
    click.echo(f"{filled.cells:,} cells: {sources}")
    click.echo(f"{milliseconds(filled.least_ms)} to {milliseconds(filled.most_ms)}, from {filled.kernels:,} kernels")
    click.echo(
        f"kernels of {filled.families} families learnt from {filled.learnt_from:,} optimised cells, and checked on"
        f" {filled.checked:,} others"
    )
    if filled.one_by_one:
        click.echo(f"{filled.one_by_one:,} cells optimised one by one: too few of their sort, or a check failed")
    if filled.no_interval:
        click.echo(f"no intervals: {filled.no_interval}")
    click.echo(f"  {filled.file}")
