"""``edgecost compare``: two selections of stored measurements side by side."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import GateError, UsageError
from .options import ShareType, db_option, json_option, shape_option
from .output import Talk, milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.comparison import Comparison, Row

#: Rows that a table shows; --json and an HTML page hold them all.
_SHOWN = 40
_PICTURES = (".svg", ".html")


@click.command(epilog="Example:  edgecost compare runtime=onnxruntime runtime=tvm --picture compare.html")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--model", metavar="FILE|HASH", help="Only this model: an ONNX file, or the beginning of its graph hash.")
@shape_option
@click.option("--purpose", "purposes", multiple=True, metavar="NAME", help="Only kernel, cell, network, … Repeatable.")
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an .svg or .html picture."
)
@click.option(
    "--fail-if-slower",
    "slower_share",
    type=ShareType(),
    help="Exit code 5 when B is slower by more than this in the geometric mean or for any workload, 95 % sure.",
)
@db_option
@json_option
def compare(
    a: str,
    b: str,
    model: str | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    purposes: tuple[str, ...],
    picture: Path | None,
    slower_share: float | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Compare stored measurements: runtimes, threads, precisions, versions, devices or dates.

    A and B are key=value[,key=value…] with the keys runtime, version, provider, threads, precision, level, option,
    device, environment, profile, since and until; `all` does not narrow. What neither names must be equal.
    """
    from ..costmodels.comparison import compare as compare_selections
    from ..db import Store

    if picture is not None and picture.suffix.lower() not in _PICTURES:
        raise UsageError(f"{picture}: a picture is an .svg or .html file", remedy="name it like compare.svg")
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        talk.stage("comparing")
        graph_hash = None if model is None else _graph_hash(model, dict(shapes))
        result = compare_selections(store, a, b, graph_hash=graph_hash, purposes=purposes or None)
    if picture is not None:
        _write_picture(result, picture)
    if as_json:
        print_json({**result.document(), "picture": None if picture is None else str(picture)})
    else:
        _print(result, picture)
    if slower_share is not None:
        _gate(result, slower_share)


def _graph_hash(model: str, shapes: dict[str, tuple[int, ...]]) -> str:
    """Of a file; anything else is the beginning of a hash.

    Raises:
        UsageError: neither.
        ModelError: the file cannot be used.
    """
    from ..profiler.model_file import read_model

    if not Path(model).exists():
        if not set(model.lower()) <= set("0123456789abcdef"):
            raise UsageError(
                f"--model {model}: neither a file nor the beginning of a graph hash",
                remedy="`edgecost profile MODEL.onnx --json` says the hash",
            )
        return model.lower()
    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        return read_model(Path(model), shapes, Path(scratch)).graph_hash


def _write_picture(result: Comparison, picture: Path) -> None:
    from ..costmodels.files import write_atomically
    from ..costmodels.pictures import comparison_html, comparison_svg

    draw = comparison_svg if picture.suffix.lower() == ".svg" else comparison_html
    write_atomically(picture, draw(result))


def _print(result: Comparison, picture: Path | None) -> None:
    click.echo(f"A: {result.a.text}\nB: {result.b.text}\n")
    shown = result.rows[:_SHOWN]
    title = f"Ratio of latencies, largest difference first ({len(shown)} of {len(result.rows)})"
    columns = ["workload", "A", "B", "B / A", "95 % interval", "verdict", "latency", "sessions A, B", "visits A, B"]
    print_table(title, columns, [_cells(row) for row in shown])
    click.echo(f"geometric mean of B / A   {result.geometric_mean:.3f}   95 %: ", nl=False)
    click.echo(_bounds(result.mean_lo, result.mean_hi))
    click.echo("verdicts                  " + ", ".join(f"{n} {what}" for what, n in sorted(result.verdicts.items())))
    click.echo(f"all {len(result.rows)} together".ljust(26), nl=False)
    click.echo(f"A {milliseconds(result.total_a_ms)}, B {milliseconds(result.total_b_ms)}")
    for side, other in (("A", "B"), ("B", "A")):
        alone = result.only_on(side)
        if alone:
            reasons = ", ".join(f"{n} {reason}" for reason, n in alone.items())
            click.echo(f"only on {side}".ljust(26) + f"{sum(alone.values())} (on {other}: {reasons})")
    for side, failures in (("A", result.failures_a), ("B", result.failures_b)):
        if failures:
            counted = ", ".join(f"{n} {status}" for status, n in failures.items())
            click.echo(f"without latency on {side}".ljust(26) + counted)
    for note in result.notes:
        click.echo(f"\n{note}")
    if picture is not None:
        click.echo(f"\nPicture: {picture}")


def _cells(row: Row) -> list[str]:
    return [
        f"{row.name} ({row.detail})" if row.detail else row.name,
        milliseconds(row.a.latency_ms),
        milliseconds(row.b.latency_ms),
        f"{row.ratio:.3f}",
        _bounds(row.lo, row.hi),
        row.verdict,
        row.basis,
        f"{len(row.a.sessions_ms)}, {len(row.b.sessions_ms)}",
        f"{row.a.visits}, {row.b.visits}",
    ]


def _bounds(lo: float | None, hi: float | None) -> str:
    return "–" if lo is None or hi is None else f"{lo:.3f} … {hi:.3f}"


def _gate(result: Comparison, share: float) -> None:
    """Say that B is slower than it may be.

    Raises:
        GateError: it is, or no row has an interval to judge by.
    """
    if all(row.winner is None for row in result.rows):
        raise GateError(
            "--fail-if-slower cannot be judged: no ratio has an interval", remedy="measure more visits on both sides"
        )
    slower = [f"{row.name} {row.ratio:.3f} ({_bounds(row.lo, row.hi)})" for row in result.slower(share)]
    if result.mean_lo is not None and result.mean_lo > 1.0 + share:
        slower.insert(0, f"geometric mean {result.geometric_mean:.3f} ({_bounds(result.mean_lo, result.mean_hi)})")
    if slower:
        more = f" and {len(slower) - 5} more" if len(slower) > 5 else ""
        raise GateError(
            f"B ({result.b.text}) is slower than A ({result.a.text}) by more than {percent(share)}: "
            f"{', '.join(slower[:5])}{more}",
            remedy="see the table for what became slower; allow more with --fail-if-slower SHARE",
        )
