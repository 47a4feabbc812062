"""``edgecost predict --device``: what a model costs on a device: measured there before, measured now, or predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import ArtefactError
from .metrics import Shapes
from .output import Talk, interval, milliseconds, print_json

if TYPE_CHECKING:
    from ..costmodels.fleet.ask import Answer, Target
    from ..profiler.records import RuntimeProfile

#: Prints what a predictor says: model, shapes, folder, profile, and what JSON tells besides.
Predict = Callable[[Path, Shapes, Path, "RuntimeProfile", dict[str, object]], None]


def ask_device(
    model: Path,
    shapes: Shapes,
    name: str,
    runtime: str | None,
    folder: Path | None,
    wait_s: float | None,
    db_url: str | None,
    as_json: bool,
    predict: Predict,
) -> None:
    """Answer from the store, else let the board measure where ``wait_s`` is given, else predict and say so."""
    from ..costmodels.fleet.ask import ask, find_target
    from ..db import Store
    from ..profiler.model_file import read_graph

    workload = read_graph(model, dict(shapes))
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        target = find_target(store, name, runtime)
        answer = ask(store, target, workload, talk, measure=wait_s is not None, wait_s=wait_s or 0.0)
    if answer.measurement is not None:
        _print_measured(model, target, answer, as_json)
        return
    place = folder or default_predictor(target.device.identity, target.profile)
    if not (place / "predictor.json").exists():
        raise ArtefactError(
            f"{model} was not measured on {name} ({answer.why}), and there is no predictor for it",
            remedy=f"name one: --predictor FOLDER; or let the board measure: … --device {name} --measure",
        )
    if not as_json:
        click.echo(f"Predicted, not measured: {answer.why}", err=True)
    predict(model, shapes, place, target.profile, {"device": name, "source": "prediction", "why": answer.why})


def _print_measured(model: Path, target: Target, answer: Answer, as_json: bool) -> None:
    found = answer.measurement
    assert found is not None
    assert found.latency is not None
    latency = found.latency
    if as_json:
        print_json(
            {
                "model": str(model),
                "device": target.device.name,
                "profile": target.profile.label,
                "source": answer.source,
                "measurement_id": found.measurement_id,
                "measured_at": found.finished_at,
                "status": found.status.value,
                "total_ms": latency.median_ms,
                "lo_ms": latency.lo_ms,
                "hi_ms": latency.hi_ms,
                "interval_coverage": 0.95,
                "visits": latency.visits,
                "runs": latency.runs,
            }
        )
        return
    when = "measured now" if answer.source == "board" else f"measured {found.finished_at[:10]}, from the store"
    click.echo(f"{model} on {target.device.name}: {milliseconds(latency.median_ms)}  ({when})")
    click.echo(f"  95 % interval  {interval(latency.lo_ms, latency.hi_ms)}, of the median within its session")
    click.echo(f"  runs           {latency.runs} in {latency.visits} visits; {found.status.value}")
    click.echo(f"  runtime        {target.profile.label}")
    click.echo(f"  measurement    {found.measurement_id}")
