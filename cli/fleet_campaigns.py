"""``edgecost campaign run --device``: a space measured by the boards of a fleet, followed, and its table written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import GateError
from .luts import print_others
from .options import db_option, json_option
from .output import Talk, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.fleet.fleet_campaign import FleetOutcome
    from ..costmodels.fleet.pool import Pool
    from ..costmodels.lut import Lut
    from ..costmodels.space import Space
    from ..db import Store


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line, of a campaign anywhere."""

    panel_share: float
    networks: int
    limit: int | None
    budget_s: float | None
    formats: tuple[str, ...]
    folder: Path
    predictor: Path | None


def run_on_fleet(
    space: Space, asked: Wanted, selector: str, runtime: str | None, db_url: str | None, as_json: bool
) -> int:
    """Have a space measured by the boards that match, and write the table; the exit code."""
    from ..costmodels.fleet.fleet_campaign import measure_on_fleet
    from ..costmodels.fleet.pool import choose_pool
    from ..costmodels.lut_formats import lut_format
    from ..db import Store

    for name in asked.formats:
        lut_format(name)  # an unknown one is told before hours of measuring, not after
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        pool = choose_pool(store, selector, runtime)
        try:
            outcome = measure_on_fleet(
                store,
                pool,
                space,
                talk,
                panel_share=asked.panel_share,
                networks=asked.networks,
                limit=asked.limit,
                budget_s=asked.budget_s,
            )
        except KeyboardInterrupt:
            talk.note("The boards go on; the same command follows them again. To end it: edgecost jobs cancel")
            raise
    if outcome.left or asked.limit is not None:
        _print_outcome(pool, outcome, None, [], as_json)
        return 1 if outcome.failed else 0
    with Store(db_url) as store:
        table, files, why_not = _write_table(store, space, pool, asked)
    _print_outcome(pool, outcome, table, files, as_json)
    if why_not is not None:
        raise why_not
    return 0


def _write_table(
    store: Store, space: Space, pool: Pool, asked: Wanted
) -> tuple[Lut | None, list[Path], GateError | None]:
    """The table and its files; or what is missing for one, to be told after what was done."""
    from ..costmodels.files import make_folder
    from ..costmodels.fleet.pool_lut import build_pool_lut
    from ..costmodels.lut_formats import lut_format
    from ..costmodels.predictor_file import load_predictor

    model = None if asked.predictor is None else load_predictor(asked.predictor, metric="latency")[0]
    try:
        table = build_pool_lut(store, space, pool, model)
    except GateError as error:
        return None, [], error
    make_folder(asked.folder)
    written = [path for name in asked.formats for path in lut_format(name).write(table, space, asked.folder)]
    return table, written, None


def _print_outcome(pool: Pool, outcome: FleetOutcome, table: Lut | None, files: Sequence[Path], as_json: bool) -> None:
    if as_json:
        about = {"boards": [board.name for board in pool.boards], "profile": pool.profile.label}
        made = {} if table is None else {"provenance": dict(table.provenance), "scale": table.scale}
        print_json({**about, **outcome.document(), **made, "files": [str(path) for path in files]})
        return
    factors = {} if table is None else table.provenance.get("boards") or {}
    assert isinstance(factors, dict)
    rows = []
    for board in pool.boards:
        factor = factors.get(board.name)
        pace = f"× {factor:.3f}" if isinstance(factor, float) else "–"
        rows.append([board.name, str(outcome.accepted_by.get(board.name, 0)), pace])
    print_table(f"{outcome.campaign}", ["board", "results", "pace"], rows)
    click.echo(
        f"{outcome.planned} workloads: {outcome.reused} were there, {outcome.done} done, {outcome.failed} failed,"
        f" {outcome.left} left; followed for {outcome.followed_s:.0f} s."
    )
    if table is None:
        if outcome.left:
            click.echo("The boards go on. Run it again to follow them, and to write the table.")
        return
    spread = table.provenance.get("boards_spread")
    if isinstance(spread, float):
        shared = table.provenance["boards_share_graphs"]
        click.echo(f"The slowest board takes {percent(spread)} longer than the fastest, by {shared} graphs of both.")
    sources = ", ".join(f"{table.source.count(name)} {name}" for name in sorted(set(table.source)))
    factor = f"; factor {table.scale:.4f} from {table.scale_fitted_on} whole networks" if table.scale_fitted_on else ""
    click.echo(f"{len(table)} cells: {sources}{factor}")
    print_others(table)
    spread = table.provenance.get("energy_boards_spread")
    if isinstance(spread, float):
        shared = table.provenance["energy_boards_share_graphs"]
        click.echo(f"One board takes {percent(spread)} more energy than another, by {shared} graphs of both.")
    for path in files:
        click.echo(f"  {path}")


@click.command("list", epilog="Example:  edgecost campaign list")
@db_option
@json_option
def list_campaigns(db_url: str | None, as_json: bool) -> None:
    """All campaigns of a database, and how far they are."""
    from dataclasses import asdict

    from ..db import Store

    with Store(db_url) as store:
        found = store.campaigns()
    if as_json:
        print_json({"campaigns": [{**asdict(one), "jobs": dict(one.jobs)} for one in found]})
        return
    states = ["pending", "leased", "done", "failed"]
    rows = [[str(one.id), one.name, one.created_at[:19], *(str(one.jobs[state]) for state in states)] for one in found]
    print_table("Campaigns, and their jobs by state", ["", "campaign", "made (UTC)", *states], rows, left=3)
