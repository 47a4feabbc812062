"""``edgecost lut price``: a file of architectures priced by a table, however many there are."""

from __future__ import annotations

from pathlib import Path

import click

from .luts import space_of
from .options import INPUT_FILE, compute_options, json_option, space_file_option
from .output import Talk, milliseconds, print_json


@click.command(epilog="Example:  edgecost lut price ofa.lut.json --archs archs.parquet --out prices.parquet")
@click.argument("table", type=INPUT_FILE)
@click.option("--archs", type=INPUT_FILE, required=True, help="Architectures: .npy, .parquet, .csv or .jsonl.")
@click.option(
    "--out", "target", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="Prices, in the order of the architectures: .parquet, .csv or .npy.",
)  # fmt: skip
@compute_options
@space_file_option
@json_option
def price(
    table: Path,
    archs: Path,
    target: Path,
    jobs: int | None,
    dask_address: str | None,
    space_name: str | None,
    as_json: bool,
) -> None:
    """Price every architecture of a file by TABLE (a native LUT file), a batch at a time.

    An architecture is a row of candidate indices, one for each position, -1 where a position is not active; in a .jsonl
    file it is a line in the space's own form.
    """
    from ..costmodels.compute.chosen import chosen_pool
    from ..costmodels.lut import Lut
    from ..costmodels.lut_pricing import price_file

    read = Lut.load(table)
    space = space_of(read, space_name)
    priced = 0
    # One process prices a million architectures in some seconds: others are begun where somebody asks for them.
    with Talk(quiet=as_json) as talk, chosen_pool(dask_address, jobs, talk.note, is_much=False) as pool:
        talk.stage("pricing")

        def progress(count: int) -> None:
            nonlocal priced
            priced += count
            talk.step(f"{priced:,} architectures")

        found = price_file(read, space, archs, target, progress, pool=pool)
    if as_json:
        print_json(
            {
                "file": str(found.file),
                "networks": found.networks,
                "least_ms": found.least_ms,
                "most_ms": found.most_ms,
                "energy": found.energy,
            }
        )
        return
    click.echo(
        f"{found.networks:,} architectures, {milliseconds(found.least_ms)} to {milliseconds(found.most_ms)}"
        f"{', with energies' if found.energy else ''}: {found.file}"
    )
