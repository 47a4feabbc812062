"""``edgecost lut search``: a small example of what a table is for."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .luts import space_of
from .options import INPUT_FILE, json_option, space_file_option
from .output import milliseconds, print_json, print_table
from .parameters import LimitType

if TYPE_CHECKING:
    from ..costmodels.lut_search import Front
    from ..costmodels.space import Space

#: Architectures that the table shows, spread over the front; --json and --out hold them all.
_SHOWN = 20


@click.command(epilog="Example:  edgecost lut search ofa.lut.json --limit latency_ms=20 --maximize macs")
@click.argument("table", type=INPUT_FILE)
@click.option("--limit", type=LimitType(), required=True, help="What a network may take.")
@click.option(
    "--maximize", "wanted", default="macs", show_default=True,
    help="macs, or a CSV file with a column for each position and a last one named accuracy.",
)  # fmt: skip
@click.option("--population", type=click.IntRange(min=4), default=64, show_default=True, help="Networks at a time.")
@click.option("--generations", type=click.IntRange(min=1), default=40, show_default=True, help="How long to search.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the search.")
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the front as CSV.")
@space_file_option
@json_option
def search(
    table: Path,
    limit: float,
    wanted: str,
    population: int,
    generations: int,
    seed: int,
    target: Path | None,
    space_name: str | None,
    as_json: bool,
) -> None:
    """Look for the best networks below a latency limit in the space of TABLE.

    This is an example of a consumer, not a search framework. With accuracies in a file the front of the listed networks
    is exact. With macs, NSGA-II (package pymoo) looks for networks that do much work in little time; much work is no
    accuracy.
    """
    from ..costmodels.files import write_atomically
    from ..costmodels.lut import Lut
    from ..costmodels.lut_search import search_by_work, search_listed

    read = Lut.load(table)
    space = space_of(read, space_name)
    if wanted == "macs":
        found = search_by_work(read, space, limit, population=population, generations=generations, seed=seed)
    else:
        found = search_listed(read, space, Path(wanted), limit)
    value = "macs" if wanted == "macs" else "accuracy"
    if target is not None:
        write_atomically(target, _csv(found, value))
    if as_json:
        rows = [
            {"arch": arch, "latency_ms": latency_ms, value: best}
            for arch, latency_ms, best in zip(
                space.decode(found.archs), found.latency_ms.tolist(), found.value.tolist(), strict=True
            )
        ]
        print_json({"limit_ms": limit, "priced": found.priced, "networks": rows})
        return
    _print(found, space, value, limit)
    if target is not None:
        click.echo(f"  {target}")


def _csv(found: Front, value: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*(f"p{place}" for place in range(found.archs.shape[1])), "latency_ms", value])
    writer.writerows(
        [*arch, latency_ms, best]
        for arch, latency_ms, best in zip(
            found.archs.tolist(), found.latency_ms.tolist(), found.value.tolist(), strict=True
        )
    )
    return text.getvalue()


def _print(found: Front, space: Space, value: str, limit_ms: float) -> None:
    count = len(found.archs)
    # The ends are always among them.
    shown = sorted({round(i * (count - 1) / max(1, _SHOWN - 1)) for i in range(_SHOWN)}) if count else []
    native = space.decode(found.archs)
    print_table(
        f"{count} of {found.priced:,} networks that were priced are below {milliseconds(limit_ms)} and on the front",
        ["architecture", "latency", value],
        [
            [
                json.dumps(native[i], separators=(",", ":")),
                milliseconds(float(found.latency_ms[i])),
                f"{found.value[i] / 1e6:.1f} M" if value == "macs" else f"{found.value[i]:g}",
            ]
            for i in shown
        ],
        left=1,
    )
