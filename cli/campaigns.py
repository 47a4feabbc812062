"""``edgecost campaign``: measure cells of a space, or kernels for any network, in as many sittings as it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UnstableMeasurement, UsageError
from . import luts
from .fleet_campaigns import FleetRun, list_campaigns, run_on_fleet
from .memory import memory
from .options import (
    OUTPUT_FOLDER,
    BudgetType,
    ShareType,
    db_option,
    json_option,
    runtime_options,
    same_runtime,
    space_options,
)
from .output import Talk, few, percent, print_json, print_table
from .parameters import PercentType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..costmodels.active.adaptive import AdaptiveOutcome
    from ..costmodels.planned_campaign import CampaignOutcome
    from ..profiler.records import Status


@click.group()
def campaign() -> None:
    """Measuring campaigns."""


campaign.add_command(list_campaigns)
campaign.add_command(memory)


@campaign.command(
    epilog="Example:  edgecost campaign run --space ofa-mobilenetv3 --adaptive --target 5%   (run it again to go on)"
)
@space_options
@click.option("--adaptive", is_flag=True, help="Measure next what most reduces the error of the table.")
@click.option(
    "--target", type=PercentType(), help="With --adaptive: stop when 90 % of the prices are expected to be this close."
)
@click.option("--budget", "budget_s", type=BudgetType(), help="Stop after this time: 90s, 5m, 2h.")
@click.option("--cells", "limit", type=click.IntRange(min=1), help="Measure this many workloads at most in this run.")
@click.option(
    "--panel", "panel_share", type=ShareType(), default="10%", show_default=True, help="Cells measured twice."
)
@click.option("--device", "selector", metavar="SELECTOR", help="Boards of a fleet: pool=nano,runtime=ort, or a name.")
@click.option("--local", is_flag=True, help="On this machine, and with the table at the end.")
@click.option(
    "--networks", type=click.IntRange(min=0), default=8, show_default=True,
    help="With --device: whole networks measured too, for the factor from sums to networks.",
)  # fmt: skip
@click.option("--format", "formats", multiple=True, default=("native",), show_default=True, help="Of the table.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("."), show_default=True, help="Folder of the table.")
@click.option("--predictor", type=OUTPUT_FOLDER, help="For cells of the table that could not be measured.")
@runtime_options
@db_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    space_name: str,
    resolution: int | None,
    width: float | None,
    adaptive: bool,
    target: float | None,
    budget_s: float | None,
    limit: int | None,
    panel_share: float,
    selector: str | None,
    local: bool,
    networks: int,
    formats: tuple[str, ...],
    folder: Path,
    predictor: Path | None,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure a space's cells; what is already measured is not measured again.

    With --device the boards of a fleet measure them, whichever match: every cell on one of them, some on all, which
    tells how far the boards are from each other. The command follows them and writes the table at the end. --local does
    the same on this machine alone.

    Every result is stored when it is made: after Ctrl-C, a crash or a power cut the same command goes on. --budget and
    --cells may be given together: the first of them to be reached ends the run.

    With --adaptive the cells are measured that tell most about the price of whole networks, and the others are left to
    the predictor: until 90 % of the prices Σ cells are expected to be within --target of those of the full table.
    """
    from ..costmodels.active.adaptive import measure_adaptively
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.space_campaign import measure_space
    from ..costmodels.space_file import load_space
    from ..db import Store

    if selector is not None:
        _refuse_beside_device(adaptive, local, threads)
        is_default = ctx.get_parameter_source("runtime_name") is click.core.ParameterSource.DEFAULT
        asked = FleetRun(
            selector=selector, runtime=None if is_default else runtime_name, panel_share=panel_share,
            networks=networks, limit=limit, budget_s=budget_s, formats=formats, folder=folder, predictor=predictor,
        )  # fmt: skip
        return run_on_fleet(load_space(space_name, resolution=resolution, width=width), asked, db_url, as_json)
    if adaptive != (target is not None):
        missing, given = ("--target", "--adaptive") if adaptive else ("--adaptive", "--target")
        raise UsageError(f"{given} needs {missing}", remedy="give both: --adaptive --target 5%")
    space = load_space(space_name, resolution=resolution, width=width)
    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        head = {
            "space": space.name,
            "device": setting.device.name,
            "profile": setting.profile.label,
            "database": store.url,
        }
        if target is not None:
            found = measure_adaptively(
                store, setting, space, talk, target=target, panel_share=panel_share, budget_s=budget_s, limit=limit
            )
        else:
            outcome = measure_space(
                store, setting, space, talk, panel_share=panel_share, budget_s=budget_s, limit=limit
            )
    title, same = f"{space.name} on {setting.device.description}: this run", same_runtime(runtime_name, threads)
    if target is not None:
        size = _same_size(resolution, width)
        _show_adaptive(found, head if as_json else None, title, f" --space {space_name}", size, same)
        return _adaptive_exit_code(found)
    if as_json:
        print_json({**head, **outcome.document()})
    else:
        _print_outcome(outcome, title)
    if local and not outcome.left and not outcome.failed:
        build = luts.build.callback
        assert build is not None
        build(
            space_name, resolution, width, formats, folder, predictor, predictor is None, runtime_name, threads, db_url,
            as_json,
        )  # fmt: skip
    elif not as_json:
        click.echo(f"Next: edgecost train --space {space_name}{same}" if not outcome.left else "Run it again to go on.")
    return 1 if outcome.failed else 0


def _refuse_beside_device(adaptive: bool, local: bool, threads: int | None) -> None:
    if local:
        raise UsageError("--device and --local are two places", remedy="give one of them")
    if adaptive:
        raise UsageError("--adaptive measures on this machine", remedy="leave out --device, or measure all cells")
    if threads is not None:
        raise UsageError(
            "the threads of a board's runtime are set on the board", remedy="choose a runtime by name: --runtime NAME"
        )


def _same_size(resolution: int | None, width: float | None) -> str:
    """The options that a following command needs to speak of the same size of the space."""
    size = "" if resolution is None else f" --resolution {resolution}"
    return size if width is None else f"{size} --width {width:g}"


def _print_outcome(outcome: CampaignOutcome, title: str) -> None:
    _print_statuses(title, outcome.report.by_status)
    click.echo(
        f"{outcome.report.times.total_s:.1f} s, {percent(outcome.report.times.outside_share)} of it outside warm-up"
        f" and measuring. Done: {outcome.done}, failed: {outcome.failed}, left: {outcome.left}."
    )


def _print_statuses(title: str, by_status: Mapping[Status, int]) -> None:
    rows = [[status.value, str(count)] for status, count in sorted(by_status.items())]
    print_table(title, ["outcome", "workloads"], rows)


def _show_adaptive(
    found: AdaptiveOutcome, head: Mapping[str, str] | None, title: str, space: str, size: str, same: str
) -> None:
    """As JSON where there is a head for it, else as tables."""
    if head is not None:
        print_json({**head, **found.document()})
        return
    if found.by_status:
        _print_statuses(title, found.by_status)
    if found.batches:
        _print_trace(found)
    told = f"{found.measured} of {found.cells} cells measured"
    predicted = found.cells - found.measured - len(found.unpriced)
    told += f"; the other {predicted} are predicted" if predicted else ""
    told += f"; {len(found.unpriced)} have no price: {few(found.unpriced)}" if found.unpriced else ""
    click.echo(f"{told}; estimated error {_estimate(found)}, {percent(found.target)} was asked for.")
    if found.of_noise is not None and not found.reached and found.of_noise > found.target:
        click.echo(
            f"The noise of the measurements alone makes {percent(found.of_noise)}: no number of cells reaches the"
            " target. Let nothing else run, and see docs/how-to/quieter-measurements.md."
        )
    if found.stopped_by in ("budget", "limit") and not found.reached:
        click.echo("Run it again to go on.")
    elif found.unpriced:
        click.echo("Without these cells there is no table: edgecost db info --failures says what happened to them.")
    else:
        train = "" if not predicted else f"edgecost train{space}{same} && "
        click.echo(f"Next: {train}edgecost lut build{space}{size}{same}")


def _estimate(found: AdaptiveOutcome) -> str:
    if found.estimated_error is None:
        return "unknown"
    basis = f" ({found.evidence_cells} cells predicted unseen)" if found.measured < found.cells else ""
    return f"{percent(found.estimated_error)}{basis}"


def _print_trace(found: AdaptiveOutcome) -> None:
    rows = [
        [
            str(batch.cells_measured),
            percent(batch.estimated_error),
            str(len(batch.cells)),
            percent(batch.mean_error),
            percent(batch.moved),
            f"{batch.measuring_s:.1f} s",
            f"{batch.thinking_s:.1f} s",
        ]
        for batch in found.batches
    ]
    columns = ["measured", "estimate", "then", "were off by", "prices moved by", "measuring", "choosing"]
    print_table("Before each batch, and what it found", columns, rows, left=0)


def _adaptive_exit_code(found: AdaptiveOutcome) -> int:
    """1 for cells that failed; 3 when all that can be measured is, and the noise leaves the error above the target."""
    if found.failed:
        return 1
    return UnstableMeasurement.exit_code if found.stopped_by == "complete" and not found.reached else 0


@campaign.command(epilog="Example:  edgecost campaign kernels --count 1400 && edgecost train")
@click.option("--count", type=click.IntRange(min=20), default=1400, show_default=True, help="Distinct kernels.")
@click.option(
    "--networks",
    type=click.IntRange(min=0),
    default=40,
    show_default=True,
    help="Whole networks, well-known and random ones, measured before and after: what they take beyond their kernels.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed chooses other kernels and networks.")
@runtime_options
@db_option
@json_option
def kernels(
    count: int,
    networks: int,
    seed: int,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Measure kernels of random blocks, and some networks, so that `train` learns to price any network.

    Convolutions, products, attention and what stands between them, each cut out of a graph that the runtime has
    optimised. Networks are measured in two sessions, around the kernels; fewer than nine give no 90 % interval. What is
    already measured is not measured again; after Ctrl-C the same command goes on.
    """
    from ..costmodels.kernel_campaign import measure_random_kernels
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        found = measure_random_kernels(store, setting, talk, count=count, networks=networks, seed=seed)
        database = store.url
    if as_json:
        device = {"device": setting.device.name, "profile": setting.profile.label, "database": database}
        print_json({**device, "seed": seed, **found.document()})
        return
    whole = f", and {found.networks_measured} of {found.networks_chosen} networks" if found.networks_chosen else ""
    click.echo(f"{found.measured} of {found.chosen} kernels{whole} have a latency on {setting.device.description}.")
    click.echo(f"Next: edgecost train{same_runtime(runtime_name, threads)}")
