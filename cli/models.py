"""``edgecost train`` and ``predict``: learn from measurements, price a model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import ArtefactError, GateError, UsageError
from .accuracy import print_accuracy
from .asking import ask_device
from .metrics import Shapes, metric_option, predict_another, train_another
from .options import (
    INPUT_FILE,
    OUTPUT_FOLDER,
    BudgetType,
    compute_options,
    db_option,
    json_option,
    runtime_options,
    shape_option,
)
from .output import Talk, interval, milliseconds, percent, print_json, print_table
from .train_all import train_everything

if TYPE_CHECKING:
    from ..costmodels.composition import Composition
    from ..costmodels.coverage import NodeCoverage
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.prices import GraphPrice
    from ..costmodels.training import TrainingReport
    from ..profiler.kernels.graph import Kernel
    from ..profiler.records import Json, RuntimeProfile

#: Kernels that a table shows; --json holds them all.
_SHOWN = 25


@click.command(epilog="Example:  edgecost train --space ofa-mobilenetv3")
@click.option("--space", "space_name", metavar="NAME|FILE", help="Judge on the cells of this space.  [default: all]")
@click.option("--out", "folder", type=OUTPUT_FOLDER, help="Folder for the predictor.  [default: your data directory]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of folds and trees.")
@metric_option
@click.option("--all", "everything", is_flag=True, help="Every device and runtime of the database, each in a folder.")
@click.option("--again", is_flag=True, help="With --all: train also where nothing new was measured.")
@compute_options
@click.option("--scope", help="With --metric energy: learn from energies of this scope, where there are several.")
@runtime_options
@db_option
@json_option
def train(
    space_name: str | None,
    folder: Path | None,
    seed: int,
    metric: str,
    everything: bool,
    again: bool,
    jobs: int | None,
    dask_address: str | None,
    scope: str | None,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Train a predictor on what was measured on this machine, and show what it is worth.

    Latency and energy are learnt from kernels, blocks and networks; memory, which does not add up, from whole networks.

    --all trains one for each device and runtime that the database knows, on --jobs processes or a Dask cluster: the
    same predictors, wherever it was. Begun again, it goes on where it was stopped. Without --all a Dask cluster takes
    part where there are more kernels than one machine trains (100,000).
    """
    if everything:
        _require_alone(metric, space_name, scope)
        train_everything(folder, seed, again, jobs, dask_address, db_url, as_json)
        return
    if again or jobs is not None:
        raise UsageError("--again and --jobs go with --all")
    if metric != "latency":
        if dask_address is not None:
            raise UsageError(f"--dask does not go with --metric {metric}, which is trained in a moment")
        train_another(metric, space_name, folder, seed, scope, runtime_name, threads, db_url, as_json)
        return
    from ..costmodels.quickstart import training_provenance
    from ..costmodels.simulated.simulation import chosen_setting
    from ..costmodels.training import save_report

    setting = chosen_setting(runtime_name, threads, db_url)
    report, database = _fit(setting, space_name, seed, dask_address, db_url, quiet=as_json)
    target = folder or default_predictor(setting.device.identity, setting.profile)
    save_report(report, target, {**training_provenance(setting), "database": database})
    if as_json:
        print_json({"predictor": str(target), **report.document()})
        return
    print_accuracy(
        f"{report.cells} of {report.graphs} measured graphs, each predicted by a model that had not seen it", report
    )
    composition = report.predictor.composition_
    if composition is None:
        click.echo("No correction for whole networks: fewer than 3 were measured (edgecost profile MODEL.onnx).")
    else:
        click.echo(f"Whole networks: {composition.terms()}, from {composition.networks} networks.")
    click.echo(f"Written to {target}")


def _require_alone(metric: str, space_name: str | None, scope: str | None) -> None:
    """What says which predictor is meant does not go with all of them."""
    told = click.get_current_context().get_parameter_source
    one = {"--runtime": "runtime_name", "--threads": "threads"}
    given = [option for option, name in one.items() if told(name) is ParameterSource.COMMANDLINE]
    given += ["--space"] * (space_name is not None) + ["--scope"] * (scope is not None)
    given += [f"--metric {metric}"] * (metric != "latency")
    if given:
        raise UsageError(f"--all trains latency for every device and runtime: {', '.join(given)} does not go with it")


def _fit(
    setting: LocalSetting,
    space_name: str | None,
    seed: int,
    dask_address: str | None,
    db_url: str | None,
    *,
    quiet: bool,
) -> tuple[TrainingReport, str]:
    """What was learnt from this machine's measurements, and where they stand."""
    from ..costmodels.compute.chosen import chosen_trainer
    from ..costmodels.space_file import load_space
    from ..costmodels.training import train as fit
    from ..db import Store

    with Store(db_url) as store, Talk(quiet=quiet) as talk, chosen_trainer(dask_address, talk.note) as trainer:
        talk.stage("training")
        space = load_space(space_name) if space_name else None
        cells = [space.workload(cell) for cell in space.measurable] if space else []
        report = fit(
            store,
            setting.device.identity,
            setting.profile,
            cells=[workload.graph_hash for workload in cells if workload is not None],
            random_state=seed,
            core_cache_bytes=setting.core_cache_bytes,
            trainer=trainer,
        )
        return report, store.url


@click.command(epilog="Example:  edgecost predict model.onnx --predictor edgecost-quickstart/predictor")
@click.argument("model", type=INPUT_FILE)
@shape_option
@click.option(
    "--predictor", "folder", type=OUTPUT_FOLDER, help="Folder of the predictor.  [default: the one of `train`]"
)
@click.option("--strict", is_flag=True, help="Fail (exit code 5) when a kernel has no price.")
@click.option("--device", "device_name", metavar="NAME", help="On this device of the database.")
@click.option("--measure", is_flag=True, help="With --device: let its board measure what was not measured yet.")
@click.option("--wait", "wait_s", type=BudgetType(), default="10m", show_default=True, help="With --measure.")
@metric_option
@runtime_options
@db_option
@json_option
@click.pass_context
def predict(
    ctx: click.Context,
    model: Path,
    shapes: Shapes,
    folder: Path | None,
    strict: bool,
    device_name: str | None,
    measure: bool,
    wait_s: float,
    metric: str,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Predict what MODEL (an ONNX file) costs on this machine, kernel by kernel, without running it.

    With --device it is a device of the database: if the model was measured there, that is the answer; else, with
    --measure, its board measures it now; else it is predicted, and that is said.
    """
    if device_name is not None:
        _refuse_beside_device(metric, threads)
        is_default = ctx.get_parameter_source("runtime_name") is click.core.ParameterSource.DEFAULT
        ask_device(
            model, shapes, device_name, None if is_default else runtime_name, folder,
            wait_s if measure else None, db_url, as_json, partial(_predict_for, strict, as_json),
        )  # fmt: skip
        return
    if measure:
        raise UsageError("--measure needs the board that is to measure", remedy="name it: --device NAME")
    if metric != "latency":
        predict_another(metric, model, shapes, folder, strict, runtime_name, threads, db_url, as_json)
        return
    from ..costmodels.simulated.simulation import chosen_setting

    setting = chosen_setting(runtime_name, threads, db_url)
    place = folder or default_predictor(setting.device.identity, setting.profile)
    _predict_for(strict, as_json, model, shapes, place, setting.profile, {}, setting)


def _refuse_beside_device(metric: str, threads: int | None) -> None:
    if metric != "latency":
        raise UsageError(f"--device answers latencies; --metric {metric} is about this machine")
    if threads is not None:
        raise UsageError(
            "the threads of a board's runtime are set on the board", remedy="choose a runtime by name: --runtime NAME"
        )


def _check_trained_for(provenance: Mapping[str, Json], profile: RuntimeProfile) -> None:
    if provenance.get("profile_hash") not in (None, profile.profile_hash):
        raise ArtefactError(
            f"the predictor was trained for {provenance.get('profile')}; this is {profile.label}",
            remedy="name that runtime: --runtime; or train for this one: edgecost campaign run …, then edgecost train",
        )


def _predict_for(
    strict: bool,
    as_json: bool,
    model: Path,
    shapes: Shapes,
    place: Path,
    profile: RuntimeProfile,
    told: Mapping[str, object],
    setting: LocalSetting | None = None,
) -> None:
    """Print what the predictor in ``place`` says of a model; ``told`` stands in the JSON besides.

    Args:
        setting: this machine, where it is the device: what has changed on it since is told.
    """
    from ..costmodels.cards.staleness import cheap_warnings
    from ..costmodels.coverage import node_coverage
    from ..costmodels.predictor_file import load_predictor
    from ..profiler.kernels.by_runtime import priced_kernels
    from ..profiler.model_file import read_graph

    predictor, provenance = load_predictor(place, metric="latency")
    _check_trained_for(provenance, profile)
    for warning in () if setting is None else cheap_warnings(provenance, setting):
        click.echo(warning, err=True)
    graph = priced_kernels(read_graph(model, dict(shapes)), profile)
    price = predictor.price([graph.kernels], network=True)[0]
    if strict and price.is_lower_bound:
        raise _refusal(model, price)
    nodes = node_coverage(graph, price.kernels)
    if as_json:
        document = _price_document(model, price, nodes, provenance.get("profile"), predictor.composition_)
        print_json({**document, **told})
    else:
        _print_price(model, price, nodes, str(provenance.get("device_description")), predictor.composition_)


def _refusal(model: Path, price: GraphPrice) -> GateError:
    """Names every operator without a price, and why: ``Erf (nothing of the kind was measured), If (…)``."""
    from ..costmodels.coverage import NEVER_MEASURED, unpriced_operators

    missing = unpriced_operators(price.kernels)
    named = ", ".join(f"{operator} ({why})" for operator, why in missing.items())
    measurable = any(NEVER_MEASURED in why for why in missing.values())
    ways = "measure graphs that hold it, for example" if measurable else "measure the whole model"
    return GateError(
        f"{model}: {price.total_ms:g} ms would be a lower bound; no price for {named}",
        remedy=f"{ways}: edgecost profile {model}; or leave out --strict for the lower bound",
    )


def _price_document(
    model: Path, price: GraphPrice, nodes: NodeCoverage, profile: object, composition: Composition | None
) -> dict[str, object]:
    from ..costmodels.composition import composition_document
    from ..costmodels.coverage import unpriced_operators

    return {
        "model": str(model),
        "profile": profile,
        "total_ms": price.total_ms,
        "lo_ms": price.lo_ms,
        "hi_ms": price.hi_ms,
        "interval_coverage": 0.9,
        "is_lower_bound": price.is_lower_bound,
        "composition": composition_document(composition),
        "coverage": price.coverage(),
        "no_price": unpriced_operators(price.kernels),
        "nodes": {"priced": len(nodes.priced), "unpriced": len(nodes.unpriced), "free": len(nodes.free)},
        "kernels": [
            {"signature": one.kernel.signature, "op": one.kernel.op, "latency_ms": one.latency_ms, "source": one.source}
            for one in price.kernels
        ],
    }


def _print_price(
    model: Path, price: GraphPrice, nodes: NodeCoverage, device: str, composition: Composition | None
) -> None:
    from ..costmodels.coverage import unpriced_operators

    missing = unpriced_operators(price.kernels)
    priced = sum(one.latency_ms is not None for one in price.kernels)
    bound = "at least " if price.is_lower_bound else ""
    total = f"{bound}{milliseconds(price.total_ms)}" if priced or not missing else "no price"
    click.echo(f"{model} on {device}: {total}")
    click.echo(f"  90 % interval  {interval(price.lo_ms, price.hi_ms)}")
    shares = {name: share for name, share in price.coverage().items() if share and name != "unsupported"}
    told = [f"{name} {percent(share, 0)}" for name, share in shares.items()]
    if missing:
        told.append(f"{len(price.kernels) - priced} of {len(price.kernels)} kernels unsupported")
    click.echo(f"  coverage       {', '.join(told) or 'nothing is executed'}")
    click.echo(f"  ONNX nodes     {_nodes(nodes)}")
    for operator, why in missing.items():
        click.echo(f"  no price for   {operator}: {why}")
    if missing:
        click.echo("  lower bound    what has no price is left out of the total")
    if composition is None:
        click.echo("  not corrected  no whole network was measured, so this is a plain sum of kernels")
    if price.lo_ms is None and not price.is_lower_bound:
        click.echo("  no interval    it needs 9 measured networks: edgecost profile MODEL.onnx, then edgecost train")
    click.echo()
    ranked = sorted(price.kernels, key=lambda kernel: -(kernel.latency_ms or 0.0))
    rows = [[*_describe(one.kernel), one.source, milliseconds(one.latency_ms)] for one in ranked[:_SHOWN]]
    title = f"Kernels by cost ({len(rows)} of {len(ranked)})"
    print_table(title, ["kernel", "input", "output", "how", "source", "latency"], rows, left=5)


def _nodes(nodes: NodeCoverage) -> str:
    """``100 priced, 1 without a price, 27 cost nothing``: all of them."""
    parts = [(len(nodes.priced), "priced"), (len(nodes.unpriced), "without a price"), (len(nodes.free), "cost nothing")]
    return ", ".join(f"{count} {name}" for count, name in parts if count)


def _describe(kernel: Kernel) -> list[str]:
    """Operator, first input, output, and what distinguishes the kernel from its neighbours, for a table."""
    shapes = [shapes[0] if shapes else None for shapes in (kernel.inputs, kernel.outputs)]
    texts = ["×".join(map(str, shape)) if shape is not None else "?" for shape in shapes]
    names = {"kernel_shape": "k", "strides": "s", "group": "g"}
    notes = [f"{short}{kernel.attribute[name]}" for name, short in names.items() if name in kernel.attribute]
    return [kernel.op, *texts, " ".join([*notes, kernel.attribute.get("activation", "")]).strip()]
