"""``edgecost lut advise``: what makes a model slow, and the swaps inside its space that meet a limit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UsageError
from .luts import space_of
from .options import INPUT_FILE, json_option, space_file_option
from .output import milliseconds, percent, print_json, print_table
from .parameters import LimitType

if TYPE_CHECKING:
    from ..costmodels.advice import Advice
    from ..costmodels.space import Space
    from ..costmodels.spaces.coding import Numeric

#: Layers that the table shows; --json holds them all.
_SHOWN = 12


@click.command(epilog="Example:  edgecost lut advise model.onnx --lut ofa.lut.json --limit latency_ms=20")
@click.argument("model", type=INPUT_FILE, required=False)
@click.option("--lut", "table", type=INPUT_FILE, required=True, help="Native LUT file of the model's space.")
@click.option("--arch", help="An architecture in the space's own form, as JSON, instead of MODEL.")
@click.option("--limit", type=LimitType(), required=True, help="What the network may take.")
@space_file_option
@json_option
def advise(
    model: Path | None, table: Path, arch: str | None, limit: float, space_name: str | None, as_json: bool
) -> None:
    """Say which layers of MODEL (an ONNX file) take the time, and what to change to meet a limit.

    The model is recognised as an architecture of the table's space by its convolutions. Of all architectures below the
    limit the one is advised that keeps the most multiply-accumulates: accuracies are not known here.
    """
    from ..costmodels.advice import advise as advised
    from ..costmodels.lut import Lut

    if (model is None) == (arch is None):
        raise UsageError("one network is needed", remedy="give a MODEL.onnx, or --arch")
    read = Lut.load(table)
    space = space_of(read, space_name)
    numeric = _recognised(model, space) if model is not None else _given(arch or "", space)
    advice = advised(read, space, numeric, limit)
    if as_json:
        document = {**asdict(advice), "arch": space.decode(advice.arch[None, :])[0]}
        print_json({"space": space.name, "recognised": space.decode(numeric[None, :])[0], **document})
        return
    _print(advice, space)


def _recognised(model: Path, space: Space) -> Numeric:
    from ..costmodels.recognition import recognise
    from ..profiler.model_file import read_graph

    return recognise(read_graph(model), space)


def _given(arch: str, space: Space) -> Numeric:
    try:
        return space.one(json.loads(arch))
    except json.JSONDecodeError as error:
        raise UsageError(f"--arch is not JSON: {error}") from error


def _print(advice: Advice, space: Space) -> None:
    shown = sorted(advice.layers, key=lambda layer: -layer.latency_ms)[:_SHOWN]
    print_table(
        f"{milliseconds(advice.latency_ms)} in {len(advice.layers)} layers; the slowest",
        ["layer", "cell", "latency", "share", "MMACs"],
        [
            [one.place, one.cell, milliseconds(one.latency_ms), percent(one.share), f"{one.macs / 1e6:.1f}"]
            for one in shown
        ],
        left=2,
    )
    if not advice.swaps:
        click.echo(f"It meets {milliseconds(advice.limit_ms)} as it is.")
        return
    kept = advice.advised_macs / advice.macs
    print_table(
        f"{len(advice.swaps)} swaps meet {milliseconds(advice.limit_ms)}: {milliseconds(advice.advised_ms)},"
        f" with {percent(kept)} of the multiply-accumulates",
        ["layer", "now", "instead", "saved", "MMACs lost"],
        [
            [
                *(one.place, one.before or "left out", one.after or "left out"),
                *(milliseconds(one.saved_ms), f"{one.lost_macs / 1e6:.1f}"),
            ]
            for one in advice.swaps
        ],
        left=3,
    )
    click.echo("Accuracy is not known here: the work that is kept stands for it.")
    click.echo(f"Architecture: {json.dumps(space.decode(advice.arch[None, :])[0], separators=(',', ':'))}")
