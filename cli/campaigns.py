"""``edgecost campaign``: measure cells of a space, or kernels for any network, in as many sittings as it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UnstableMeasurement, UsageError
from . import luts
from .controls import control_option
from .energies import energy
from .fleet_campaigns import Wanted, list_campaigns, run_on_fleet
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
from .sparkline import course, printed_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..costmodels.active.adaptive import AdaptiveOutcome
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.lut_formats import LutFormat
    from ..costmodels.planned_campaign import CampaignOutcome
    from ..costmodels.space import Space
    from ..db import Store
    from ..profiler.records import Status


@click.group()
def campaign() -> None:
    """Measuring campaigns."""


campaign.add_command(list_campaigns)
campaign.add_command(memory)
campaign.add_command(energy)


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
@control_option
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
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.lut_formats import lut_format
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.space_file import load_space

    space = load_space(space_name, resolution=resolution, width=width)
    asked = Wanted(panel_share, networks, limit, budget_s, formats, folder, predictor)
    if selector is not None:
        _refuse_beside_device(adaptive, local, threads)
        runtime = runtime_name if _says_runtime(ctx, selector) else None
        return run_on_fleet(space, asked, selector, runtime, db_url, as_json)
    if adaptive != (target is not None):
        missing, given = ("--target", "--adaptive") if adaptive else ("--adaptive", "--target")
        raise UsageError(f"{given} needs {missing}", remedy="give both: --adaptive --target 5%")
    writers = [lut_format(name) for name in formats] if local else []
    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    same, size = same_runtime(runtime_name, threads), _same_size(resolution, width)
    if target is not None:
        return _run_adaptively(space, setting, asked, target, (f" --space {space_name}", size, same), db_url, as_json)
    return _run_here(space, setting, asked, writers, f"{space_name}{same}", db_url, as_json)


def _run_adaptively(
    space: Space,
    setting: LocalSetting,
    asked: Wanted,
    target: float,
    following: tuple[str, str, str],
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure what most reduces the error of the table; ``following`` is said of the commands that come next."""
    from ..costmodels.active.adaptive import measure_adaptively
    from ..db import Store

    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        head = _head(space, setting, store)
        found = measure_adaptively(
            store, setting, space, talk, target=target, panel_share=asked.panel_share, budget_s=asked.budget_s,
            limit=asked.limit,
        )  # fmt: skip
    title = f"{space.name} on {setting.device.description}: this run"
    _show_adaptive(found, head if as_json else None, title, *following)
    return _adaptive_exit_code(found)


def _run_here(
    space: Space,
    setting: LocalSetting,
    asked: Wanted,
    writers: Sequence[LutFormat],
    following: str,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure all cells on this machine, and write the table where there is something to write it with."""
    from ..costmodels.files import make_folder
    from ..costmodels.space_campaign import measure_space
    from ..db import Store

    made: dict[str, object] = {}
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        head = _head(space, setting, store)
        outcome = measure_space(
            store, setting, space, talk, panel_share=asked.panel_share, budget_s=asked.budget_s, limit=asked.limit
        )
        is_whole = not outcome.left and (not outcome.failed or asked.predictor is not None)
        table = None
        if writers and is_whole:
            measured_only = asked.predictor is None
            table = luts.local_table(store, space, setting, asked.predictor, measured_only=measured_only)
    if not as_json:
        _print_outcome(outcome, f"{space.name} on {setting.device.description}: this run")
    if table is not None:
        make_folder(asked.folder)
        files = [path for writer in writers for path in writer.write(table, space, asked.folder)]
        made = luts.built_document(table, files)
        if not as_json:
            luts.print_built(table, files)
    if as_json:
        print_json({**head, **outcome.document(), **made})
    elif table is None:
        click.echo(f"Next: edgecost train --space {following}" if not outcome.left else "Run it again to go on.")
    return 1 if outcome.failed else 0


def _head(space: Space, setting: LocalSetting, store: Store) -> dict[str, str]:
    return {
        "space": space.name,
        "device": setting.device.name,
        "profile": setting.profile.label,
        "database": store.url,
    }


def _says_runtime(ctx: click.Context, selector: str) -> bool:
    """Whether the runtime was said, and not left to the boards: a variable gives way to a selector that names one."""
    from ..db.fleet.selector import Selector

    source = ctx.get_parameter_source("runtime_name")
    if source is click.core.ParameterSource.ENVIRONMENT:
        return Selector.parse(selector).runtime is None
    return source is click.core.ParameterSource.COMMANDLINE


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
    share = outcome.report.times.outside_share
    # A virtual device measures by a clock of its own, which passes faster.
    told = "" if share is None else f", {percent(share)} of it outside warm-up and measuring"
    click.echo(
        f"{outcome.report.times.total_s:.1f} s{told}."
        f" Done: {outcome.done}, failed: {outcome.failed}, left: {outcome.left}."
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
    estimates = [batch.estimated_error for batch in found.batches]
    if len(estimates) - estimates.count(None) > 1:
        click.echo(f"  {course(estimates, printed_blocks())}  the estimate, batch by batch\n")


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
@control_option
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
