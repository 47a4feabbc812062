"""``edgecost lut export-archs``: what whole networks cost, in the lists and sample sets that search code reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..profiler.errors import UsageError
from .format_cards import of_networks, show_cards
from .luts import space_of
from .options import INPUT_FILE, OUTPUT_FOLDER, json_option
from .output import print_json

if TYPE_CHECKING:
    from ..costmodels.arch_formats.costs import About, Costs
    from ..costmodels.arch_formats.networks import Networks
    from ..costmodels.lut_formats.card import Metric
    from ..costmodels.space import Space


@click.command(
    "export-archs", epilog="Example:  edgecost lut export-archs table.lut.json --format help --archs fbnet.txt"
)
@click.argument("sources", nargs=-1, type=INPUT_FILE)
@click.option("--format", "formats", multiple=True, metavar="NAME", help="Repeat for several; --list names them.")
@click.option("--archs", "order", type=INPUT_FILE, help="The networks in the reader's order: .txt, .jsonl or .npy.")
@click.option("--samples", type=click.IntRange(min=1), help="Instead of --archs: this many random networks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --samples.")
@click.option("--values", type=INPUT_FILE, help="Prices of your own instead of SOURCES: CSV with arch,latency_ms.")
@click.option("--space", "space_name", metavar="NAME|FILE", help="Of --values, or of a table whose space is a file.")
@click.option(
    "--metric",
    "metrics",
    type=click.Choice(["latency", "energy", "memory"]),
    multiple=True,
    default=("latency",),
    show_default=True,
    help="Repeat for formats that hold several.",
)
@click.option("--device", "device_name", metavar="NAME", help="What the device is called in the files.")
@click.option("--unknown", type=float, metavar="VALUE", help="Stands where a network has no price; the side file says.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("."), show_default=True, help="Folder for the files.")
@click.option("--list", "wants_list", is_flag=True, help="List the formats.")
@json_option
def export_archs(
    sources: tuple[Path, ...],
    formats: tuple[str, ...],
    order: Path | None,
    samples: int | None,
    seed: int,
    values: Path | None,
    space_name: str | None,
    metrics: tuple[str, ...],
    device_name: str | None,
    unknown: float | None,
    folder: Path,
    wants_list: bool,
    as_json: bool,
) -> None:
    """Price whole networks with SOURCES and write them for code that asks for networks, not for cells.

    SOURCES are native LUT files of one device, one for each resolution, or the folder of an onboarded device. The order
    of the networks is the reader's own, so you name it; only that of NAS-Bench-201 is known. Networks without a price
    are refused (exit code 5) unless the format or --unknown has a place for them.
    """
    from ..costmodels.arch_formats import arch_format
    from ..costmodels.files import make_folder

    if wants_list:
        show_cards([of_networks()], as_json)
        return
    if not formats:
        raise UsageError("which format?", remedy="--format NAME; edgecost lut export-archs --list names them")
    if order is not None and samples is not None:
        raise UsageError("--archs and --samples are two ways to name networks; give one of them")
    if bool(sources) == (values is not None):
        raise UsageError("give SOURCES or --values FILE", remedy="a LUT file, an onboarded folder, or --values")
    writers = [arch_format(name) for name in formats]
    wanted = cast("tuple[Metric, ...]", tuple(dict.fromkeys(metrics)))
    if values is not None:
        networks, costs, about = _from_values(values, space_name, order, samples, device_name, wanted)
    elif sources[0].is_dir():
        networks, costs, about = _from_onboarded(sources, order, samples, seed, device_name, wanted)
    else:
        networks, costs, about = _from_tables(sources, space_name, order, samples, seed, device_name, wanted)
    if unknown is not None:
        costs = [one.with_stand_in(unknown) for one in costs]
    make_folder(folder)
    written = {writer.name: [str(path) for path in writer.write(networks, costs, folder, about)] for writer in writers}
    if as_json:
        print_json({"space": networks.space, "networks": len(networks), "metrics": list(wanted), "files": written})
        return
    for name, files in written.items():
        click.echo(f"{name}: {len(networks)} networks, {', '.join(files)}")


def _from_tables(
    sources: Sequence[Path],
    space_name: str | None,
    order: Path | None,
    samples: int | None,
    seed: int,
    name: str | None,
    metrics: Sequence[Metric],
) -> tuple[Networks, list[Costs], About]:
    from ..costmodels.arch_formats.networks import NASBENCH201
    from ..costmodels.arch_formats.prices import table_about, table_costs
    from ..costmodels.lut import Lut

    luts = [Lut.load(path) for path in sources]
    about = table_about(luts, name, metrics)
    spaces = [space_of(lut, space_name) for lut in luts]
    if len({space.resolution for space in spaces}) < len(spaces) or len({space.width for space in spaces}) > 1:
        raise UsageError("several tables must be of one width and of different resolutions")
    if len(spaces) == 1 and spaces[0].name == NASBENCH201:
        networks = _cell_networks(order, samples, seed)
    else:
        networks = _chain_networks(spaces, order, samples, seed)
    return networks, [table_costs(luts, spaces, networks, metric) for metric in metrics], about


def _from_onboarded(
    sources: Sequence[Path],
    order: Path | None,
    samples: int | None,
    seed: int,
    name: str | None,
    metrics: Sequence[Metric],
) -> tuple[Networks, list[Costs], About]:
    from ..costmodels.arch_formats.prices import onboarded_about, onboarded_costs
    from ..costmodels.onboarding.chain_space import ChainSpace
    from ..costmodels.onboarding.portable_file import load_onboarded, open_space_of

    if len(sources) > 1:
        raise UsageError("one onboarded device at a time", remedy="name one folder")
    device = load_onboarded(sources[0])
    space = open_space_of(device, sources[0], pool=1, seed=seed)
    if isinstance(space, ChainSpace):
        networks = _chain_networks([space.space], order, samples, seed)
    else:
        networks = _cell_networks(order, samples, seed)
    costs = [onboarded_costs(device, space, networks, metric) for metric in metrics]
    return networks, costs, onboarded_about(device, name)


def _from_values(
    values: Path,
    space_name: str | None,
    order: Path | None,
    samples: int | None,
    name: str | None,
    metrics: Sequence[Metric],
) -> tuple[Networks, list[Costs], About]:
    from ..costmodels.arch_formats.costs import About
    from ..costmodels.arch_formats.networks import NASBENCH201, read_cells, read_chains
    from ..costmodels.arch_formats.order import read_order
    from ..costmodels.arch_formats.values_file import read_values

    if space_name is None or name is None:
        raise UsageError("--values needs --space and --device", remedy="nasbench201, or see `edgecost space list`")
    if samples is not None:
        raise UsageError("--values holds its own networks; leave out --samples")
    read = read_values(values)
    given = read.archs if order is None else read_order(order)
    origin = f"{values.name if order is None else order.name}"
    if space_name == NASBENCH201:
        own, networks = read_cells(read.archs, values.name), read_cells(given, origin)
    else:
        spaces = _spaces_of(space_name, [*read.archs, *given])
        own, networks = read_chains(read.archs, spaces, values.name), read_chains(given, spaces, origin)
    about = About(device=name, source=f"numbers of {values.name}, not edgecost's")
    return networks, [read.costs(own, networks, metric) for metric in metrics], about


def _spaces_of(space_name: str, given: Sequence[object]) -> list[Space]:
    """The space at every resolution that a network names."""
    from ..costmodels.space_file import load_space

    space = load_space(space_name)
    key = space.native.resolution
    named = [one[key][0] for one in given if isinstance(one, dict) and isinstance(one.get(key), list) and one[key]]
    if strange := [side for side in named if not isinstance(side, int)]:
        raise UsageError(f"a network names the resolution {strange[0]}, which is not a whole number")
    return [load_space(space_name, resolution=side) for side in sorted(set(named))] or [space]


def _chain_networks(spaces: Sequence[Space], order: Path | None, samples: int | None, seed: int) -> Networks:
    from ..costmodels.arch_formats.networks import chain_networks, read_chains
    from ..costmodels.arch_formats.order import read_order

    if order is not None:
        return read_chains(read_order(order), spaces, order.name)
    if samples is None:
        raise UsageError(
            f"which networks of {spaces[0].name}?", remedy="--archs FILE in the reader's order, or --samples N"
        )
    if len(spaces) > 1:
        raise UsageError("--samples draws from one table", remedy="name one table, or the networks: --archs FILE")
    return chain_networks(spaces, spaces[0].sample(samples, seed), [0] * samples, f"{samples} at random, seed {seed}")


def _cell_networks(order: Path | None, samples: int | None, seed: int) -> Networks:
    import numpy as np

    from ..costmodels.arch_formats.networks import benchmark_networks, cell_networks, read_cells
    from ..costmodels.arch_formats.order import read_order

    if order is not None:
        return read_cells(read_order(order), order.name)
    every = benchmark_networks()
    if samples is None:
        return every
    chosen = np.random.default_rng(seed).choice(len(every), min(samples, len(every)), replace=False)
    drawn = cell_networks(every.choices[np.sort(chosen)], "")
    return replace(drawn, origin=f"{len(drawn)} at random, seed {seed}")
