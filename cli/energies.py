"""``edgecost campaign energy``: energies of blocks, files and networks by a power meter, and how one is told."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .audit import files_of
from .controls import control_option
from .energy_output import energy_document, watts
from .options import INPUT_FILE, db_option, json_option, runtime_options, same_runtime, shape_option
from .output import Talk, millijoules, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.campaign import Planned
    from ..costmodels.metrics.energy_campaign import EnergyCampaign
    from ..profiler.readings import Energy
    from ..profiler.records import Measurement

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@click.command(epilog="Example:  edgecost campaign energy --space ofa-mobilenetv3 && edgecost train --metric energy")
@click.argument("models", type=INPUT_FILE, nargs=-1)
@shape_option
@click.option("--space", "space_names", metavar="NAME|FILE", multiple=True, help="Every block of a search space.")
@click.option(
    "--networks", type=click.IntRange(min=0), default=8, show_default=True, help="Whole networks of each space, too."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the networks.")
@click.option(
    "--meter", "meter_name", metavar="NAME", help="Power meter: see `edgecost doctor`.  [default: the board's]"
)
@click.option("--device", "selector", metavar="SELECTOR", help="Boards of a fleet: pool=nano,runtime=ort, or a name.")
@click.option("--again", is_flag=True, help="Measure once more what the database knows already.")
@control_option
@runtime_options
@db_option
@json_option
def energy(
    models: tuple[Path, ...],
    shapes: Shapes,
    space_names: tuple[str, ...],
    networks: int,
    seed: int,
    meter_name: str | None,
    selector: str | None,
    again: bool,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure energies; what is measured is not measured again. After Ctrl-C the same command goes on.

    MODELS are ONNX files. Each graph runs for some seconds, rests for as long, and so on until its windows agree: how
    long a window must be hangs on how often the meter says something new. Exit code 1 when some said no energy.
    """
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.metrics.energy_campaign import measure_energies
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store
    from ..devices.virtual.door import meter_of
    from ..profiler.errors import UsageError

    if not models and not space_names:
        raise UsageError("nothing to measure", remedy="name files or a space: edgecost campaign energy --space NAME")
    if selector is not None:
        if meter_name is not None or again:
            raise UsageError("--meter and --again are about this machine, and go not with --device")
        return _on_fleet(models, shapes, space_names, networks, seed, selector, db_url, as_json)
    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    meter = meter_of(setting.profile, meter_name)
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as scratch,
        Store(db_url) as store,
        Talk(quiet=as_json) as talk,
    ):
        wanted = _wanted(models, shapes, space_names, networks, seed, Path(scratch))
        found = measure_energies(wanted, store, setting, meter, talk, again=again)
    names = {one.workload.graph_hash: one.workload.name for one in wanted}
    if as_json:
        rows = [{"graph": names[m.graph_hash], **energy_document(m)} for m in found.made]
        print_json({"device": setting.device.name, "profile": setting.profile.label, "meter": meter.facts.document(),
                    "chosen": found.chosen, "reused": found.reused, "energies": rows})  # fmt: skip
        return 1 if found.failed else 0
    _print(found, names)
    click.echo(f"Next: edgecost train --metric energy{same_runtime(runtime_name, threads)}")
    return 1 if found.failed else 0


def _on_fleet(
    models: tuple[Path, ...],
    shapes: Shapes,
    space_names: tuple[str, ...],
    networks: int,
    seed: int,
    selector: str,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Have the boards of a pool measure energies, each graph on whichever is free."""
    from ..costmodels.fleet.fleet_campaign import carry_out, wishes_of
    from ..costmodels.fleet.pool import choose_pool
    from ..db import Store
    from ..profiler.energy.windows import EnergySettings
    from ..profiler.protocol import Settings

    name = "energy-" + "+".join([*space_names, *(model.stem for model in models)])
    with (
        tempfile.TemporaryDirectory(prefix="edgecost-") as scratch,
        Store(db_url) as store,
        Talk(quiet=as_json) as talk,
    ):
        pool = choose_pool(store, selector)
        wishes = wishes_of(_wanted(models, shapes, space_names, networks, seed, Path(scratch)), pool, seed)
        outcome = carry_out(
            store, pool, name, "energy", wishes, talk, settings=Settings(seed=seed), energy=EnergySettings()
        )
    if as_json:
        print_json({"boards": [board.name for board in pool.boards], **outcome.document()})
    else:
        rows = [[board.name, str(outcome.accepted_by.get(board.name, 0))] for board in pool.boards]
        print_table(outcome.campaign, ["board", "results"], rows)
        click.echo(
            f"{outcome.planned} graphs: {outcome.reused} were there, {outcome.done} done, {outcome.failed} failed,"
            f" {outcome.left} left; followed for {outcome.followed_s:.0f} s."
        )
        for space in space_names:
            click.echo(f"A table with them: edgecost campaign run --space {space} --device '{selector}'")
    return 1 if outcome.failed else 0


def _wanted(
    models: tuple[Path, ...], shapes: Shapes, space_names: Sequence[str], networks: int, seed: int, scratch: Path
) -> list[Planned]:
    from ..costmodels.campaign import Planned
    from ..costmodels.space_file import load_space
    from ..costmodels.space_plan import plan_space

    found = [Planned(one, "network", one.name) for one in files_of(models, shapes, scratch)]
    for name in space_names:
        space = load_space(name)
        found += [one for one in plan_space(space, panel_share=0.0, seed=seed) if one.purpose == "cell"]
        whole = [space.build(arch) for arch in space.sample(min(networks, space.size), seed)] if networks else []
        found += [Planned(one, "network", one.name) for one in whole]
    return found


def _print(found: EnergyCampaign, names: dict[str, str]) -> None:
    if found.reused:
        click.echo(f"{found.reused} of {found.chosen} graphs already measured, reused")
    rows = [[names[one.graph_hash], *_cells(one, one.energy)] for one in found.made]
    if rows:
        print_table("Energies", ["graph", "status", "gross", "95 %", "net", "active", "idle"], rows, left=2)


def _cells(measurement: Measurement, one: Energy | None) -> list[str]:
    if one is None:
        return [measurement.status.value, "–", "–", "–", "–", "–"]
    ends = f"{millijoules(one.gross_lo_mj)} … {millijoules(one.gross_hi_mj)}"
    told = [
        millijoules(one.gross_median_mj),
        ends,
        millijoules(one.net_median_mj),
        watts(one.active_mw),
        watts(one.idle_mw),
    ]
    return [one.status.value.replace("_", " "), *told]
