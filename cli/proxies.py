"""``edgecost simulate`` and ``edgecost proxy``: ask a simulator about a model, and fit a cost model in front of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import GateError
from .options import INPUT_FILE, OUTPUT_FOLDER, Decorated, db_option, json_option, shape_option
from .output import Talk, few, milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.simulated.proxy import Agreement, Judgement, ProxyReport

#: Failures that are shown; --json holds them all.
_SHOWN = 3

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def simulator_option(command: Decorated) -> Decorated:
    """``--simulator``: by name with options, or a file."""
    return click.option(
        "--simulator",
        metavar="NAME[:KEY=VALUE,…]|FILE",
        default="systolic",
        show_default=True,
        help="Simulator with its options, or a TOML file with them: see `edgecost proxy simulators`.",
    )(command)


@click.command(epilog="Example:  edgecost simulate model.onnx --simulator systolic:rows=32,columns=32")
@click.argument("model", type=INPUT_FILE)
@shape_option
@simulator_option
@json_option
def simulate(model: Path, shapes: Shapes, simulator: str, as_json: bool) -> None:
    """Say what MODEL (an ONNX file) costs on a simulated device. Nothing is run.

    Exit code 5 when the simulator cannot compute an operator of the model.
    """
    from ..devices.simulators import checked_cost, open_simulator
    from ..profiler.model_file import read_model

    made = open_simulator(simulator)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        cost = checked_cost(made, read_model(model, dict(shapes), Path(scratch)))
    description = made.device().description
    if as_json:
        print_json({"model": str(model), "device": description, **asdict(cost)})
    if cost.unsupported:
        raise GateError(
            f"{description} cannot compute {model}: {'; '.join(cost.unsupported)}",
            remedy="there is no number for a part of a graph",
        )
    if not as_json:
        click.echo(f"{model} on {description}")
        click.echo(f"  latency  {milliseconds(cost.latency_ms)}")
        click.echo(f"  energy   {_millijoules(cost.energy_mj)}")
        width = max(map(len, cost.details), default=0)
        for name, value in cost.details.items():
            click.echo(f"    {name.replace('_', ' '):{width}}  {value:{',.0f' if value >= 1 else '.3g'}}")


@click.group()
def proxy() -> None:
    """Fit a cost model to a slow simulator."""


@proxy.command(epilog="Example:  edgecost proxy simulators")
@json_option
def simulators(as_json: bool) -> None:
    """The simulators that can be named."""
    from ..devices.simulators import simulator_names

    if as_json:
        print_json({"simulators": simulator_names()})
        return
    for name in simulator_names():
        click.echo(name)


@proxy.command(epilog="Example:  edgecost proxy fit --simulator systolic --space ofa-mobilenetv3 --samples 300")
@simulator_option
@click.option("--space", "space_names", metavar="NAME|FILE", multiple=True, help="Learn from the cells of this space.")
@click.option(
    "--judge", "judge_names", metavar="NAME|FILE", multiple=True, help="Only judge on networks of this space."
)
@click.option("--samples", type=click.IntRange(min=1), default=300, show_default=True, help="Blocks to learn from.")
@click.option("--nodes/--no-nodes", default=True, show_default=True, help="Also simulate each node of them alone.")
@click.option("--networks", type=click.IntRange(min=0), default=10, show_default=True, help="Networks to learn from.")
@click.option("--held-out", type=click.IntRange(min=1), default=30, show_default=True, help="Networks that judge.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, help="Folder for the predictor.  [default: your data directory]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of blocks, networks, folds and trees.")
@db_option
@json_option
def fit(
    simulator: str,
    space_names: tuple[str, ...],
    judge_names: tuple[str, ...],
    samples: int,
    nodes: bool,
    networks: int,
    held_out: int,
    folder: Path | None,
    seed: int,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Simulate blocks and networks, fit a predictor to them, and say what it is worth.

    Cells of each --space are simulated first; random blocks fill up the samples. Each of its networks is either
    learned from or judged on, never both. A simulator that fuses nodes is better fitted with --no-nodes.

    What was simulated is kept: the same command goes on after an interruption.
    """
    from ..costmodels.simulated.proxy import ProxyPlan, fit_proxy, save_proxy
    from ..costmodels.simulated.simulation import simulated_setting
    from ..costmodels.space_file import load_space
    from ..db import Store

    setting, made = simulated_setting(simulator)
    spaces = tuple(load_space(name) for name in space_names)
    judges = tuple(load_space(name) for name in judge_names)
    plan = ProxyPlan(spaces, judges, samples=samples, nodes=nodes, networks=networks, held_out=held_out, seed=seed)
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        report = fit_proxy(store, setting, made, plan, talk)
        url = store.url
    target = folder or default_predictor(setting.device.identity, setting.profile)
    save_proxy(report, setting, target, url)
    if as_json:
        print_json({"device": setting.device.description, "predictor": str(target), **report.document()})
        return
    click.echo(f"{setting.device.description}; {setting.profile.label}\n")
    _print_report(report)
    energy = f", of energy to {target / 'energy'}" if report.energy else ""
    click.echo(f"Predictor of latency written to {target}{energy}")
    use = f"edgecost predict MODEL.onnx --runtime simulator:{simulator} --predictor {target}"
    click.echo(f"Use it: {use}")
    if report.energy:
        click.echo(f"        {use}/energy --metric energy")


def _print_report(report: ProxyReport) -> None:
    lacking = [f"{operator} ({count})" for operator, count in report.unsupported.items()]
    if lacking:
        click.echo(f"Not computed by the simulator, and left out: {few(lacking)}")
    for line in report.failures[:_SHOWN]:
        click.echo(f"Failed, and left out: {line}")
    training = report.training
    rows = [row for one in report.judgements for row in _rows(one)]
    learned = f"{training.graphs} blocks and nodes and {training.networks} networks"
    columns = ["networks of", "cells", "quantity", "networks", "RMSE", "of mean", "±5 %", "±10 %", "mean error", "ρ"]
    print_table(f"Fitted on {learned}; judged on whole networks that it has not seen", columns, rows, left=3)
    speed = report.speed
    times = [
        ["the simulator", _seconds(speed.simulator_s), ""],
        ["the proxy, from the ONNX graph", _seconds(speed.proxy_s), f"{speed.simulator_s / speed.proxy_s:,.0f} ×"],
        [
            "the proxy, kernels known, in a batch",
            _seconds(speed.batch_s),
            f"{speed.simulator_s / speed.batch_s:,.0f} ×",
        ],
    ]
    print_table("Time for a network", ["by", "seconds", "faster"], times, left=1)
    pays = "never pays" if speed.pays_after is None else f"pays after {speed.pays_after} networks"
    click.echo(f"Simulating to train took {speed.training_s:.1f} s and training {speed.fit_s:.1f} s: it {pays}.")


def _rows(one: Judgement) -> list[list[str]]:
    cells = "learned" if one.is_known else "not seen"
    head = [one.space, cells]
    rows = [[*head, "latency", str(one.networks), *_cells(one.latency, milliseconds)]]
    if one.energy is not None:
        rows.append([*head, "energy", str(one.networks), *_cells(one.energy, _millijoules)])
    if one.unpriced:
        rows[0][2] += f" ({one.unpriced} without a price)"
    return rows


def _cells(one: Agreement | None, written: Callable[[float | None], str]) -> list[str]:
    if one is None:
        return ["–"] * 6
    found = one.accuracy
    rho = "–" if found.spearman is None else f"{found.spearman:.4f}"
    bands = [percent(found.within_5), percent(found.within_10)]
    return [written(one.rmse), f"{one.rmse_percent:.2f} %", *bands, f"{found.mape_percent:.2f} %", rho]


def _millijoules(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f} mJ"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 else f"{value:.6f}"
