"""``edgecost split``: the head of a network on a board, its tail on another device; where to cut."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import GateError, UsageError
from .controls import control_option_beside
from .metrics import Shapes
from .options import INPUT_FILE, OUTPUT_FOLDER, db_option, json_option, shape_option
from .output import Talk, few, print_json
from .parameters import DelayType, RateType

if TYPE_CHECKING:
    from ..costmodels.split.sides import Side
    from ..costmodels.split.splitting import PricedSide
    from ..costmodels.split.table import Split
    from ..db import Store
    from ..profiler.records import Device, RuntimeProfile

_POWER = click.FloatRange(min=0)


@click.command(epilog="Example:  edgecost split model.onnx --head nano-1 --tail host --link 20Mbit/s --latency 5ms")
@click.argument("model", type=INPUT_FILE)
@shape_option
@click.option(
    "--head", "head_name", metavar="NAME", required=True, help="The board: a device of the database, or host."
)
@click.option("--tail", "tail_name", metavar="NAME", required=True, help="The other device, likewise.")
@click.option("--link", "bits_per_s", type=RateType(), required=True, help="20Mbit/s, 2.5MB/s: what gets through.")
@click.option(
    "--latency", "delay_ms", type=DelayType(), default="0ms", show_default=True, help="Of the link, each way: 5ms."
)
@click.option("--compress", type=click.Choice(["uint8"]), help="Send floats as whole numbers of 8 bits.")
@click.option(
    "--tensors", type=click.IntRange(min=1), default=2, show_default=True, help="Tensors that may cross at once."
)
@click.option("--round-trip", is_flag=True, help="The board wants the result: add its way back.")
@click.option("--radio-mw", type=_POWER, metavar="MW", help="What the board's radio takes while it sends or receives.")
@click.option(
    "--idle-mw", type=_POWER, metavar="MW", help="What the board takes while it waits.  [default: not counted]"
)
@click.option("--head-runtime", metavar="NAME", help="Runtime of the head.  [default: ort, or what was measured last]")
@click.option("--tail-runtime", metavar="NAME", help="Runtime of the tail, likewise.")
@click.option("--head-predictor", type=OUTPUT_FOLDER, help="Folder of the head's.  [default: the one of `train`]")
@click.option("--tail-predictor", type=OUTPUT_FOLDER, help="Folder of the tail's, likewise.")
@click.option("--head-energy", type=OUTPUT_FOLDER, help="Folder of `train --metric energy` for the head.")
@click.option("--measure", is_flag=True, help="Measure the halves of the best cuts on a side that is this machine.")
@click.option(
    "--candidates", type=click.IntRange(min=1), default=3, show_default=True, help="With --measure: how many cuts."
)
@control_option_beside("measure", "--measure")
@click.option("--strict", is_flag=True, help="Fail (exit code 5) when a kernel has no price.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this SVG file.")
@db_option
@json_option
def split(
    model: Path,
    shapes: Shapes,
    head_name: str,
    tail_name: str,
    bits_per_s: float,
    delay_ms: float,
    compress: str | None,
    tensors: int,
    round_trip: bool,
    radio_mw: float | None,
    idle_mw: float | None,
    head_runtime: str | None,
    tail_runtime: str | None,
    head_predictor: Path | None,
    tail_predictor: Path | None,
    head_energy: Path | None,
    measure: bool,
    candidates: int,
    strict: bool,
    picture: Path | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Where to cut MODEL (an ONNX file): latency and the board's energy for every cut, and the best of them.

    The head runs on a board, what crosses goes over a link, the tail runs elsewhere. Both halves are priced as graphs
    of their own, by the predictors of their devices; what was measured counts first. A side is host, a device of the
    database by its name or the beginning of its identity, or simulator:NAME, which is asked itself unless a predictor
    is named.
    """
    from ..costmodels.split.link import Link
    from ..costmodels.split.splitting import Splitting
    from ..costmodels.split.table import Question
    from ..db import Store
    from ..profiler.model_file import read_graph
    from .split_output import print_split, split_document

    if picture is not None and picture.suffix.lower() != ".svg":
        raise UsageError(f"{picture}: the picture is an .svg file", remedy="name it like split.svg")
    question = Question(
        Link(bits_per_s, delay_ms), tensors, compress is not None, round_trip, radio_mw=radio_mw, idle_mw=idle_mw
    )
    workload = read_graph(model, dict(shapes))
    with ExitStack() as stack:
        talk = stack.enter_context(Talk(quiet=as_json))
        store = stack.enter_context(Store(db_url)) if measure or Store.exists(db_url) else None
        head = _side(head_name, head_runtime, head_predictor, head_energy, store, db_url)
        tail = _side(tail_name, tail_runtime, tail_predictor, None, store, db_url)
        splitting = Splitting(workload, question, head, tail, talk, store)
        found = splitting.measure_best(candidates, talk) if measure else splitting.table()
    if strict:
        _refuse_gaps(model, found)
    if picture is not None:
        _draw(found, head.side, tail.side, question.link.label, picture)
    if as_json:
        print_json(split_document(model, found, question, head.side, tail.side))
    else:
        print_split(found, question, head.side, tail.side)


def _side(
    name: str,
    runtime: str | None,
    folder: Path | None,
    energy_folder: Path | None,
    store: Store | None,
    db_url: str | None,
) -> PricedSide:
    from ..costmodels.split.prices import open_pricer
    from ..costmodels.split.sides import find_side
    from ..costmodels.split.splitting import PricedSide

    def has_predictor(device: Device, profile: RuntimeProfile) -> bool:
        return (default_predictor(device.identity, profile) / "predictor.json").exists()

    side = find_side(name, runtime, store, db_url, has_predictor)
    place = folder or default_predictor(side.device.identity, side.profile)
    energy = energy_folder or default_predictor(side.device.identity, side.profile, "energy")
    if side.simulator is not None and folder is None and energy_folder is not None:
        raise UsageError(
            "--head-energy alone: a simulator says the energy itself, beside the latency",
            remedy="leave it out, or name both predictors of a proxy: --head-predictor FOLDER --head-energy FOLDER",
        )
    return PricedSide(side, open_pricer(side, place, energy, asks_simulator=folder is None))


def _refuse_gaps(model: Path, found: Split) -> None:
    gaps = [cut for cut in found.cuts if cut.is_lower_bound]
    if gaps:
        missing = sorted({operator for cut in gaps for half in (cut.head, cut.tail) for operator in half.no_price})
        raise GateError(
            f"{model}: {len(gaps)} of {len(found.cuts)} cuts have no full price: {few(missing)}",
            remedy="measure graphs that hold them on that device, or leave out --strict for lower bounds",
        )


def _draw(found: Split, head: Side, tail: Side, link: str, picture: Path) -> None:
    from ..costmodels.files import write_atomically
    from ..costmodels.split.picture import split_svg

    title = f"{found.network}: head on {head.device.name}, tail on {tail.device.name}, {link}"
    write_atomically(picture, split_svg(found, title))
