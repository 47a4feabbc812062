"""``edgecost campaign``: measure cells of a space, or kernels for any network, in as many sittings as it takes."""

from __future__ import annotations

import click

from ..profiler.errors import UsageError
from .memory import memory
from .options import BudgetType, ShareType, db_option, json_option, runtime_options, same_runtime, space_options
from .output import Talk, percent, print_json, print_table


@click.group()
def campaign() -> None:
    """Measuring campaigns."""


campaign.add_command(memory)


@campaign.command(
    epilog="Example:  edgecost campaign run --space ofa-mobilenetv3 --budget 90s   (run it again to go on)"
)
@space_options
@click.option("--budget", "budget_s", type=BudgetType(), help="Stop after this time: 90s, 5m, 2h.")
@click.option("--cells", "limit", type=click.IntRange(min=1), help="Measure this many workloads at most in this run.")
@click.option(
    "--panel", "panel_share", type=ShareType(), default="10%", show_default=True, help="Cells measured twice."
)
@runtime_options
@db_option
@json_option
def run(
    space_name: str,
    resolution: int | None,
    width: float | None,
    budget_s: float | None,
    limit: int | None,
    panel_share: float,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Measure a space's cells; what is already measured is not measured again.

    Every result is stored when it is made: after Ctrl-C, a crash or a power cut the same command goes on.
    """
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.space_campaign import measure_space
    from ..costmodels.space_file import load_space
    from ..db import Store

    if limit is not None and budget_s is not None:
        raise UsageError("--budget and --cells are two ways to say when to stop; give one of them")
    space = load_space(space_name, resolution=resolution, width=width)
    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        outcome = measure_space(store, setting, space, talk, panel_share=panel_share, budget_s=budget_s, limit=limit)
    if as_json:
        print_json(
            {
                "space": space.name,
                "device": setting.device.name,
                "profile": setting.profile.label,
                "database": store.url,
                **outcome.document(),
            }
        )
    else:
        statuses = [[status.value, str(count)] for status, count in sorted(outcome.report.by_status.items())]
        print_table(f"{space.name} on {setting.device.description}: this run", ["outcome", "workloads"], statuses)
        click.echo(
            f"{outcome.report.times.total_s:.1f} s, {percent(outcome.report.times.outside_share)} of it outside warm-up"
            f" and measuring. Done: {outcome.done}, failed: {outcome.failed}, left: {outcome.left}."
        )
        again = same_runtime(runtime_name, threads)
        click.echo(
            f"Next: edgecost train --space {space_name}{again}" if not outcome.left else "Run it again to go on."
        )
    return 1 if outcome.failed else 0


@campaign.command(epilog="Example:  edgecost campaign kernels --count 1400 && edgecost train")
@click.option("--count", type=click.IntRange(min=20), default=1400, show_default=True, help="Distinct kernels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed chooses other kernels.")
@runtime_options
@db_option
@json_option
def kernels(count: int, seed: int, runtime_name: str, threads: int | None, db_url: str | None, as_json: bool) -> None:
    """Measure kernels of random blocks, so that `train` learns to price any network.

    Convolutions, products, attention and what stands between them, each cut out of a graph that the runtime has
    optimised. What is already measured is not measured again; after Ctrl-C the same command goes on.
    """
    from ..costmodels.kernel_campaign import measure_random_kernels
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..db import Store

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        found = measure_random_kernels(store, setting, talk, count=count, seed=seed)
        database = store.url
    if as_json:
        device = {"device": setting.device.name, "profile": setting.profile.label, "database": database}
        print_json({**device, "seed": seed, "chosen": found.chosen, "measured": found.measured})
        return
    click.echo(f"{found.measured} of {found.chosen} kernels have a latency on {setting.device.description}.")
    click.echo(f"Next: edgecost train{same_runtime(runtime_name, threads)}")
