"""``edgecost train --all``: the predictors of every device and runtime that a database has measurements of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import EdgecostError
from .output import Talk, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.train_all import Pair, PairResult


def train_everything(
    folder: Path | None,
    seed: int,
    again: bool,
    jobs: int | None,
    dask_address: str | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Train, show a table, and fail in the end where a pair failed: what was trained is kept."""
    from ..costmodels.compute.chosen import chosen_pool
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.train_all import Plan, measured_pairs, train_all
    from ..db import Store

    here = LocalSetting.here()

    def core_cache_of(pair: Pair) -> int | None:
        return here.core_cache_bytes if pair.device.identity == here.device.identity else None

    def folder_of(pair: Pair) -> Path:
        default = default_predictor(pair.device.identity, pair.profile)
        return default if folder is None else folder / default.name

    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        pairs = measured_pairs(store)
        with chosen_pool(dask_address, jobs, talk.note, is_much=len(pairs) > 1) as pool:
            talk.stage("training", total=len(pairs))
            results = train_all(
                store,
                pairs,
                Plan(folder_of, core_cache_of, seed, again),
                pool,
                done=lambda result: talk.step(f"{result.pair.device.name}: {result.outcome}"),
            )
    if as_json:
        print_json({"pairs": [_document(result) for result in results]})
    else:
        _print_results(results)
    failed = [result for result in results if result.outcome == "failed"]
    if failed:
        raise EdgecostError(
            f"{len(failed)} of {len(results)} could not be trained; the others are kept",
            remedy="see why in the table; the same command tries them again, and no others",
        )


def _document(result: PairResult) -> dict[str, object]:
    return {
        "device": result.pair.device.name,
        "device_identity": result.pair.device.identity,
        "profile": result.pair.profile.label,
        "profile_hash": result.pair.profile.profile_hash,
        "predictor": str(result.folder),
        "outcome": result.outcome,
        "why": result.why or None,
        "measured_graphs": result.graphs,
        "report": None if result.report is None else result.report.document(),
    }


def _print_results(results: Sequence[PairResult]) -> None:
    if not results:
        click.echo("Nothing was measured yet: edgecost campaign run …")
        return
    rows = []
    for result in results:
        held_out = None if result.report is None else result.report.held_out
        within = "–" if held_out is None else percent(held_out.within_10)
        told = f"{result.outcome}: {result.why}" if result.why else result.outcome
        rows.append([result.pair.device.name, result.pair.profile.label, told, str(result.graphs), within])
    counts = Counter(result.outcome for result in results)
    title = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print_table(title, ["device", "runtime", "", "graphs", "held out ±10 %"], rows, left=3)
    for result in results:
        if result.outcome == "trained":
            click.echo(f"  {result.folder}")
