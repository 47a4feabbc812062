"""A model's card for people: what it was made of, what it is worth, what it cannot do and what to measure next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from .accuracy import accuracy_row
from .output import change, few, percent, print_table
from .sparkline import printed_blocks, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..costmodels.cards.model_card import GroupAccuracy, ModelCard, Pairs

#: Characters of the longest bar.
_BAR = 32
#: Kinds that a table shows; --json holds them all.
_KINDS = 15
#: What to measure next that is shown.
_NEXT = 4


def print_card(card: ModelCard, digests: Mapping[str, str], state: str) -> None:
    """All that a card says.

    Args:
        digests: of the model's files, by name.
        state: whether it may still be used, and why not.
    """
    device = card.device.get("description", "a device that is not named")
    click.echo(f"{device}; {card.profile_label}")
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    click.echo(f"{card.model} of {card.metric} in {card.unit}, made {card.made_at} with {versions}\n")
    click.echo("What it was made of")
    for name, text in _data_rows(card):
        click.echo(f"  {name:<14}{text}")
    click.echo()
    rows = [
        accuracy_row("measured again in another process (the floor)", card.floor),
        accuracy_row("predicted, held out", card.held_out),
        accuracy_row("whole networks, each left out", card.networks),
        accuracy_row("FLOPs only, held out", card.flops_only),
    ]
    count = 0 if card.held_out is None else card.held_out.n
    title = f"What it is worth on {count} graphs, each predicted by a model that had not seen it"
    print_table(title, ["", "±2 %", "±5 %", "±10 %", "mean error", "ρ"], rows)
    _print_errors(card.pairs)
    _print_coverage(card)
    if card.by_kind:
        shown = card.by_kind[:_KINDS]
        title = f"By what takes most of a graph, ±10 % ({len(shown)} of {len(card.by_kind)} kinds)"
        _print_bars(title, shown)
    if card.by_size:
        _print_bars("By measured size, ±10 %", card.by_size)
    click.echo("What it cannot do")
    for limit in card.limits:
        click.echo(f"  {limit}")
    _print_growth(card)
    if card.anchors:
        kinds = sorted({anchor.kind for anchor in card.anchors})
        click.echo(f"\nAnchors: {len(card.anchors)} graphs, of {few(kinds, 6)}; edgecost models check --measure")
    for name, digest in digests.items():
        click.echo(f"sha256 {digest}  {name}")
    click.echo(f"State: {state}")


def _print_growth(card: ModelCard) -> None:
    """Sample-efficiency, and what to measure next."""
    if card.curve:
        points = (f"{one.graphs} → {percent(one.accuracy.within_10)}" for one in card.curve)
        click.echo(f"\nUnseen graphs within ±10 %, by how many trained: {', '.join(points)}")
    if card.next:
        click.echo("What to measure next (all of it: --json)")
    for one in card.next[:_NEXT]:
        gain = "" if one.gain is None else f", takes {percent(one.gain, 0)} off the expected squared error"
        click.echo(f"  {one.subject}\n    for {one.target}; {one.reason}: {one.why}{gain}")


def _data_rows(card: ModelCard) -> list[list[str]]:
    data = card.data
    purposes = ", ".join(f"{count} {purpose}" for purpose, count in data.purposes.items())
    rows = [["measurements", f"{data.rows}{f' ({purposes})' if purposes else ''}"]]
    if card.model == "predictor":
        kernels = "" if data.kernels is None else f" with {data.kernels} kernels"
        parts = f"{data.graphs} graphs{kernels}, {data.networks} whole networks"
        rows.append(["of", f"{parts}, in {data.sessions} sessions"])
    elif data.networks:
        rows.append(["of", f"{data.networks} whole networks"])
    if data.measured_from:
        rows.append(["from, until", f"{data.measured_from[:19]} … {data.measured_until[:19]}"])
    protocols = ", ".join(f"{name} ({count})" for name, count in data.protocols.items())
    rows.append(["protocol", protocols or "–"])
    environment = card.environment or {}
    told = [str(environment[key]) for key in ("kernel", "runtime") if environment.get(key)]
    governors = environment.get("governors")
    if isinstance(governors, list):
        told.append(f"governor {', '.join(map(str, governors)) or 'not told'}")
    cpus = environment.get("pinned_cpus")
    if isinstance(cpus, list):
        told.append(f"CPU {', '.join(map(str, cpus))}")
    rows.append(["environment", ", ".join(told) or "–"])
    rows += [["left out", f"{count}: {reason}"] for reason, count in data.left_out.items()]
    rows.append(["seed", str(data.seed)])
    return rows


def _print_errors(pairs: Pairs) -> None:
    """How the errors lie that the table above sums up: whether they lean to one side, and what stands apart."""
    both = zip(pairs.predicted, pairs.measured, strict=True)
    # As logarithms: half as much is as far off as twice as much.
    errors = [math.log(guess / truth) for guess, truth in both if guess > 0 and truth > 0]
    if len(errors) > 1:
        ends = f"from {change(math.expm1(min(errors)))} to {change(math.expm1(max(errors)))}"
        click.echo(f"  {spread(errors, printed_blocks())}  predicted against measured, {ends}\n")


def _print_coverage(card: ModelCard) -> None:
    networks = {one.nominal: one for one in card.network_coverage}
    rows = []
    for one in card.coverage:
        beside = networks.get(one.nominal)
        rows.append([percent(one.nominal, 0), percent(one.held), percent(beside.held if beside else None)])
    print_table("What its intervals held of what was held out", ["promised", "graphs", "networks"], rows)


def _print_bars(title: str, groups: Sequence[GroupAccuracy]) -> None:
    rows = [
        [
            group.name,
            str(group.accuracy.n),
            "█" * round(_BAR * group.accuracy.within_10),
            percent(group.accuracy.within_10),
            f"{group.accuracy.mape_percent:.1f} %",
        ]
        for group in groups
    ]
    table = [[name, bar, n, share, error] for name, n, bar, share, error in rows]
    print_table(title, ["", "", "graphs", "±10 %", "mean error"], table, left=2)
