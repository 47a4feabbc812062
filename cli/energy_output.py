"""How an energy is told: in a few lines, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .output import millijoules, print_table

if TYPE_CHECKING:
    from ..profiler.records import Energy, Json, Measurement


def energy_document(measurement: Measurement) -> dict[str, object]:
    """An attempt's energy as JSON, its windows beside it, and those of single rails."""
    reading = measurement.energy
    outcome: dict[str, object] = {
        "measurement_id": measurement.measurement_id,
        "outcome": measurement.status.value,
        "message": measurement.message,
    }
    windows = measurement.conditions.get("energy_windows", [])
    if reading is None:
        return {**outcome, "windows_made": windows}
    rails = {name: _rail_document(measurement, name, one) for name, one in measurement.rails.items()}
    return {
        **outcome,
        **asdict(reading),
        "status": reading.status.value,
        "windows_made": windows,
        "rails": rails,
    }


def _rail_document(measurement: Measurement, name: str, one: Energy) -> dict[str, object]:
    told = _told_of_rail(measurement, name)
    return {
        "parent": told.get("parent", ""),
        **asdict(one),
        "status": one.status.value,
        "windows_made": told.get("windows", []),
    }


def _told_of_rail(measurement: Measurement, name: str) -> dict[str, Json]:
    """What the attempt says of a rail beside its energy; nothing where its conditions were not read."""
    rails = measurement.conditions.get("energy_rails")
    told = rails.get(name) if isinstance(rails, dict) else None
    return told if isinstance(told, dict) else {}


def print_energy(measurement: Measurement) -> None:
    """An attempt's energy in a few lines: gross, net, and what both may be off by."""
    one = measurement.energy
    if one is None or one.gross_median_mj is None:
        outcome = measurement.status.value if one is None else one.status.value
        why = measurement.message if one is None else one.message
        click.echo(f"  energy  {outcome.replace('_', ' ')}: {why}\n")
        return
    click.echo(
        f"  energy  {_with_errors(one.gross_median_mj, one.gross_lo_mj, one.gross_hi_mj, one.gross_systematic_mj)}"
    )
    click.echo(f"          of a run, all that the {one.scope} takes ({one.status.value});", nl=False)
    if one.net_median_mj is None:
        click.echo(" what it takes above idle is not known")
    else:
        net = _with_errors(one.net_median_mj, one.net_lo_mj, one.net_hi_mj, one.net_systematic_mj)
        click.echo(f" {net} above idle")
    click.echo(f"          {watts(one.active_mw)} while it runs, {watts(one.idle_mw)} at rest;", nl=False)
    click.echo(f" {one.windows} windows of {(one.window_ms or 0) / 1e3:.1f} s, {one.runs} runs\n")
    print_rails(measurement)


def print_rails(measurement: Measurement) -> None:
    """The rails beside the whole, where the meter reads some."""
    rows = [
        [
            name,
            one.scope,
            str(_told_of_rail(measurement, name).get("parent") or "–"),
            one.status.value.replace("_", " "),
            millijoules(one.gross_median_mj),
            _ends(one),
            millijoules(one.net_median_mj),
            watts(one.active_mw),
            watts(one.idle_mw),
        ]
        for name, one in measurement.rails.items()
    ]
    if rows:
        title = "Rails, in the same windows; a rail is part of what it is in, and never added to it"
        print_table(title, ["rail", "scope", "in", "status", "gross", "95 %", "net", "active", "idle"], rows, left=4)


def _ends(one: Energy) -> str:
    if one.gross_median_mj is None:
        return "–"
    return f"{millijoules(one.gross_lo_mj)} … {millijoules(one.gross_hi_mj)}"


def watts(power_mw: float | None) -> str:
    """A power for people; unknown is a dash."""
    return "–" if power_mw is None else f"{power_mw / 1e3:.3f} W"


def _with_errors(value: float | None, low: float | None, high: float | None, systematic: float | None) -> str:
    if value is None or low is None or high is None:
        return "–"
    system = "of the meter's own error nothing is known"
    if systematic is not None:
        system = f"the meter's own error is {millijoules(systematic)} at most"
    return f"{millijoules(value)} ({millijoules(low)} … {millijoules(high)}; {system})"
