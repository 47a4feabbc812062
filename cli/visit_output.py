"""How the visits of a measurement lie: in their order, and how many of them where, each a line with its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .output import milliseconds
from .sparkline import course, printed_blocks, spread

if TYPE_CHECKING:
    from ..profiler.records import Measurement

#: Of fewer there is nothing to see.
_LEAST = 4
_NS_PER_MS = 1e6


def print_visits(measurement: Measurement) -> None:
    """Two lines; nothing where there were next to no visits, as of a simulator."""
    values_ms = [None if one.value_ns is None else one.value_ns / _NS_PER_MS for one in measurement.visits]
    known_ms = [value for value in values_ms if value is not None]
    if len(known_ms) < _LEAST:
        return
    blocks = printed_blocks()
    ends = f"{milliseconds(min(known_ms))} to {milliseconds(max(known_ms))}"
    click.echo(f"  course  {course(values_ms, blocks)}  the visits in their order, a gap for each that was rejected")
    click.echo(f"  spread  {spread(known_ms, blocks)}  how many lie where, from {ends}")
