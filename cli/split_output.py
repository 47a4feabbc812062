"""What ``edgecost split`` says: a table of cuts, the best of them, what the numbers stand on; and all of it as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import interval, millijoules, milliseconds, percent, print_table

if TYPE_CHECKING:
    from ..costmodels.split.prices import HalfPrice
    from ..costmodels.split.sides import Side
    from ..costmodels.split.table import Best, Question, Split, SplitCut

#: Cuts that the table shows; --json holds them all.
_SHOWN = 25


def split_document(model: Path, found: Split, question: Question, head: Side, tail: Side) -> dict[str, object]:
    """All of it as JSON."""
    return {
        "model": str(model),
        "head": _side_document(head),
        "tail": _side_document(tail),
        "question": asdict(question),
        "fastest": asdict(found.fastest),
        "least_board_energy": asdict(found.thriftiest),
        "left_out": {"too_many_tensors": found.too_many, "unknown_size": found.unknown},
        "half_interval_coverage": 0.9,
        "cuts": [cut.document() for cut in found.cuts],
    }


def _side_document(side: Side) -> dict[str, object]:
    return {
        "device": side.device.name,
        "device_identity": side.device.identity,
        "description": side.device.description,
        "profile": side.profile.label,
        "profile_hash": side.profile.profile_hash,
    }


def print_split(found: Split, question: Question, head: Side, tail: Side) -> None:
    """The table and what is to be known about it."""
    from ..costmodels.split.picture import shown_cuts

    click.echo(f"{found.network} in two, over {question.link.label}")
    click.echo(f"  head  {head.label}")
    click.echo(f"  tail  {tail.label}\n")
    shown = shown_cuts(found, _SHOWN)
    has_energy = any(cut.energy is not None for cut in found.cuts)
    title = f"Cuts ({len(shown)} of {len(found.cuts)}, the fastest of them, in the order of the network)"
    columns = ["cut", "after", "crosses", "head", "link", "tail", "total", "interval"]
    columns += ["board's energy"] * has_energy
    print_table(title, columns, [_row(cut, found, has_energy=has_energy) for cut in shown], left=2)
    _print_best(found, has_energy=has_energy)
    _print_notes(found, question, has_energy=has_energy)


def _row(cut: SplitCut, found: Split, *, has_energy: bool) -> list[str]:
    mark = "*" * (cut.number == found.fastest.number) + "+" * (cut.number == found.thriftiest.number)
    row = [
        f"{cut.number}{mark}",
        cut.point.after,
        _crossing(cut),
        _half(cut.head),
        milliseconds(cut.link_ms),
        _half(cut.tail),
        _bound(milliseconds(cut.total_ms), lacks=cut.is_lower_bound),
        # A simulator has no spread, and an interval of no width would look like one.
        "–" if cut.lo_ms == cut.hi_ms else interval(cut.lo_ms, cut.hi_ms),
    ]
    if has_energy:
        energy = cut.energy
        row.append("–" if energy is None else _bound(millijoules(energy.energy_mj), lacks=energy.is_lower_bound))
    return row


def _crossing(cut: SplitCut) -> str:
    if not cut.point.crossing:
        return "nothing"
    count = len(cut.point.crossing)
    return f"{cut.point.size_bytes / 1e3:,.1f} kB" + (f" in {count}" if count > 1 else "")


def _half(half: HalfPrice) -> str:
    if half.source == "nothing":
        return "nothing"
    return _bound(milliseconds(half.latency_ms), lacks=half.is_lower_bound) + " m" * (half.source == "measured")


def _bound(text: str, *, lacks: bool) -> str:
    return f"≥ {text}" if lacks and text != "–" else text


def _print_best(found: Split, *, has_energy: bool) -> None:
    first, last = found.cuts[0], found.cuts[-1]
    best = found.fastest
    if best.number is None:
        click.echo("* Fastest: not known, since every cut has a kernel without a price")
    else:
        cut = found.cuts[best.number]
        click.echo(f"* Fastest: cut {cut.number}, after {cut.point.after}: {milliseconds(cut.total_ms)}", nl=False)
        ends = [f"all on the tail {_total(first)}", f"all on the head {_total(last)}"]
        click.echo(f" ({', '.join(ends)})")
        _print_doubts(best)
    if not has_energy:
        click.echo("+ Board's energy: unknown, there is no predictor of energy for the head")
        return
    best = found.thriftiest
    if best.number is None:
        click.echo("+ Least energy of the board: not known, since a part of it is not known for any cut")
        return
    cut = found.cuts[best.number]
    assert cut.energy is not None
    told = millijoules(cut.energy.energy_mj)
    click.echo(f"+ Least energy of the board: cut {cut.number}, after {cut.point.after}: {told}")
    _print_doubts(best)


def _print_doubts(best: Best) -> None:
    if best.maybe:
        click.echo(f"    {len(best.maybe)} cuts may be better: part of them has no price, and the rest is less")
    if best.close:
        click.echo(f"    {len(best.close)} cuts lie within its interval")


def _total(cut: SplitCut) -> str:
    return _bound(milliseconds(cut.total_ms), lacks=cut.is_lower_bound)


def _print_notes(found: Split, question: Question, *, has_energy: bool) -> None:
    """What the numbers stand on, and what is not in them."""
    for side, half in (("head", found.cuts[-1].head), ("tail", found.cuts[0].tail)):
        shares = [
            f"{name} {percent(share, 0)}" for name, share in half.coverage.items() if share and name != "unsupported"
        ]
        click.echo(f"  coverage    the whole network on the {side}: {', '.join(shares) or 'no price'}")
    missing = {operator: why for cut in found.cuts for half in (cut.head, cut.tail) for operator, why in _gaps(half)}
    for operator, why in missing.items():
        click.echo(f"  no price    {operator}: {why}")
    if found.too_many:
        click.echo(f"  left out    {found.too_many} cuts with more than {question.tensors_max} tensors: --tensors")
    if found.unknown:
        click.echo(f"  left out    {found.unknown} cuts at which a tensor crosses whose size is not known")
    if has_energy and question.radio_mw is None:
        click.echo("  radio       not known, so that cuts with a link have lower bounds of energy: --radio-mw")
    if has_energy and question.idle_mw is None:
        click.echo("  waiting     of the board for link and tail is not counted: --idle-mw")
    if any("measured" in (cut.head.source, cut.tail.source) for cut in found.cuts):
        click.echo("  m           measured on that device; the others are predicted")
    click.echo("  call        what a runtime takes for a call is in no half: two halves pay it twice")


def _gaps(half: HalfPrice) -> list[tuple[str, str]]:
    return list(half.no_price.items())
