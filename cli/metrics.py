"""``train`` and ``predict`` for what is no latency: energy and peak memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import ArtefactError, GateError, UsageError
from .accuracy import print_judgement
from .output import Talk, megabytes, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.metrics.energy_predictor import GraphEnergy
    from ..costmodels.metrics.energy_training import EnergyReport
    from ..costmodels.metrics.judgement import Judgement
    from ..costmodels.metrics.memory_training import MemoryReport
    from ..costmodels.metrics.peak_memory import MemoryPrice
    from ..db import Store
    from ..profiler.records import Json
    from ..profiler.workload import Workload

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Decorated = TypeVar("Decorated", bound=Callable[..., object])

#: As in ``costmodels.metrics.metric``, which brings the records along.
METRICS = ("latency", "energy", "memory")
#: Kernels that a table shows; --json holds them all.
_SHOWN = 25


def metric_option(command: Decorated) -> Decorated:
    """``--metric``: what is learnt, or asked for."""
    return click.option(
        "--metric",
        type=click.Choice(METRICS),
        default="latency",
        show_default=True,
        help="In ms, mJ or bytes: a predictor has one of them.",
    )(command)


def train_another(
    metric: str,
    space_name: str | None,
    folder: Path | None,
    seed: int,
    scope: str | None,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """``train --metric energy`` and ``--metric memory``."""
    from ..costmodels.quickstart import training_provenance
    from ..costmodels.simulated.simulation import PREFIX, chosen_setting
    from ..db import Store

    if space_name is not None:
        raise UsageError(f"--space does not go with --metric {metric}: it is judged on all that was measured")
    if scope is not None and metric != "energy":
        raise UsageError("--scope goes with --metric energy")
    if metric == "memory" and runtime_name.startswith(PREFIX):
        raise UsageError(
            "peak memory is learnt from what was measured, and a simulator has no memory to fill",
            remedy="learn its latencies or energies: --metric latency, --metric energy",
        )
    setting = chosen_setting(runtime_name, threads, db_url)
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        talk.stage("training")
        report = _train(metric, store, setting, seed, scope)
        provenance: dict[str, Json] = {**training_provenance(setting), "database": store.url}
    target = folder or default_predictor(setting.device.identity, setting.profile, metric)
    report.save(target, provenance)
    if as_json:
        print_json({"predictor": str(target), **report.document()})
        return
    _print_report(metric, report)
    click.echo(f"Written to {target}")


def _train(
    metric: str, store: Store, setting: LocalSetting, seed: int, scope: str | None
) -> EnergyReport | MemoryReport:
    identity, profile = setting.device.identity, setting.profile
    if metric == "memory":
        from ..costmodels.metrics.memory_training import train_memory

        return train_memory(store, identity, profile, random_state=seed)
    from ..costmodels.metrics.energy_training import train_energy

    cache = setting.core_cache_bytes
    return train_energy(store, identity, profile, scope=scope, random_state=seed, core_cache_bytes=cache)


def _print_report(metric: str, report: EnergyReport | MemoryReport) -> None:
    document = report.document()
    count = f"{document['networks']} networks" if metric == "memory" else f"{document['graphs']} graphs"
    judged: Judgement = report.judgement
    title = f"The {metric} of {count}, each predicted by a model that had not seen it"
    print_judgement(title, judged.floor, judged.held_out, judged.baseline_name, judged.baseline, judged.coverage)
    if report.left_out:
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(report.left_out.items()))
        click.echo(f"Left out: {told}.")


def predict_another(
    metric: str,
    model: Path,
    shapes: Shapes,
    folder: Path | None,
    strict: bool,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """``predict --metric energy`` and ``--metric memory``."""
    from ..costmodels.simulated.simulation import chosen_setting
    from ..profiler.model_file import read_model

    setting = chosen_setting(runtime_name, threads, db_url)
    place = folder or default_predictor(setting.device.identity, setting.profile, metric)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        if metric == "memory":
            _predict_memory(model, read_model(model, dict(shapes), Path(scratch)), place, setting, as_json)
        else:
            _predict_energy(model, read_model(model, dict(shapes), Path(scratch)), place, setting, strict, as_json)


def _check_profile(provenance: Mapping[str, Json], setting: LocalSetting, metric: str) -> None:
    if provenance.get("profile_hash") not in (None, setting.profile.profile_hash):
        raise ArtefactError(
            f"the predictor was trained for {provenance.get('profile')}; this machine has {setting.profile.label}",
            remedy=f"name that runtime: --runtime; or train for this one: edgecost train --metric {metric}",
        )


def _predict_memory(model: Path, workload: Workload, place: Path, setting: LocalSetting, as_json: bool) -> None:
    from ..costmodels.metrics.peak_memory import PeakMemoryPredictor, memory_shape
    from ..profiler.kernels.graph import optimise

    predictor, provenance = PeakMemoryPredictor.load(place)
    _check_profile(provenance, setting, "memory")
    price = predictor.price([memory_shape(optimise(workload, setting.profile))])[0]
    if as_json:
        document = {"model": str(model), "metric": "memory", "unit": "bytes", "profile": provenance.get("profile")}
        print_json({**document, **asdict(price), "interval_coverage": 0.9})
        return
    _print_memory(f"{model} on {provenance.get('device_description')}", price)


def _print_memory(title: str, price: MemoryPrice) -> None:
    click.echo(f"{title}: {megabytes(price.peak_bytes)} at its peak while it runs")
    bounds = "–" if price.lo_bytes is None else f"{megabytes(price.lo_bytes)} … {megabytes(price.hi_bytes)}"
    click.echo(f"  90 % interval  {bounds}")
    click.echo(f"  source         {price.source}")
    click.echo(f"  runtime        {megabytes(price.overhead_bytes)} of it for any first model")
    live = price.live
    click.echo(f"  at the least   {megabytes(live.weight_bytes)} of weights,", nl=False)
    click.echo(f" {megabytes(live.activation_bytes)} of activations at the worst moment")
    if price.lo_bytes is None:
        click.echo("  no interval    it needs more measured networks: edgecost campaign memory")


def _predict_energy(
    model: Path, workload: Workload, place: Path, setting: LocalSetting, strict: bool, as_json: bool
) -> None:
    from ..costmodels.metrics.energy_predictor import EnergyPredictor
    from ..profiler.kernels.by_runtime import priced_kernels

    predictor, provenance = EnergyPredictor.load(place)
    _check_profile(provenance, setting, "energy")
    price = predictor.price([priced_kernels(workload, setting.profile).kernels], network=True)[0]
    if strict and price.is_lower_bound:
        raise GateError(
            f"{model}: {price.total_mj:g} mJ would be a lower bound; no price for {', '.join(_unpriced(price))}",
            remedy="measure the energy of graphs that hold it; or leave out --strict for the lower bound",
        )
    if as_json:
        print_json(_energy_document(model, price, provenance))
        return
    _print_energy(f"{model} on {provenance.get('device_description')}", price, predictor.scope_, predictor.networks)


def _unpriced(price: GraphEnergy) -> list[str]:
    return sorted({one.kernel.op for one in price.kernels if one.energy_mj is None})


def _energy_document(model: Path, price: GraphEnergy, provenance: Mapping[str, Json]) -> dict[str, object]:
    return {
        "model": str(model),
        "metric": "energy",
        "unit": "mJ",
        "scope": provenance.get("scope"),
        "profile": provenance.get("profile"),
        "total_mj": price.total_mj,
        "lo_mj": price.lo_mj,
        "hi_mj": price.hi_mj,
        "interval_coverage": 0.9,
        "is_lower_bound": price.is_lower_bound,
        "coverage": dict(price.coverage),
        "no_price": _unpriced(price),
        "kernels": [
            {"signature": one.kernel.signature, "op": one.kernel.op, "energy_mj": one.energy_mj, "source": one.source}
            for one in price.kernels
        ],
    }


def _print_energy(title: str, price: GraphEnergy, scope: str, networks: int) -> None:
    bound = "at least " if price.is_lower_bound else ""
    click.echo(f"{title}: {bound}{price.total_mj:.4g} mJ a run, gross, of the {scope}")
    bounds = "–" if price.lo_mj is None else f"{price.lo_mj:.4g} … {price.hi_mj:.4g} mJ"
    click.echo(f"  90 % interval  {bounds}")
    shares = {name: share for name, share in price.coverage.items() if share}
    click.echo(f"  coverage       {', '.join(f'{name} {percent(share, 0)}' for name, share in shares.items())}")
    if missing := _unpriced(price):
        click.echo(f"  no price for   {', '.join(missing)}: left out of the total")
    if not networks:
        click.echo("  not corrected  no energy of a whole network was measured, so this is a plain sum of kernels")
    ranked = sorted(price.kernels, key=lambda one: -(one.energy_mj or 0.0))[:_SHOWN]
    rows = [[one.kernel.signature, one.source, "–" if one.energy_mj is None else f"{one.energy_mj:.4g} mJ"]
            for one in ranked]  # fmt: skip
    click.echo()
    print_table(f"Kernels by cost ({len(rows)} of {len(price.kernels)})", ["kernel", "source", "energy"], rows, left=2)
