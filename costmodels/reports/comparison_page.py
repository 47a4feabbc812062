"""The report of a comparison: its picture, every row, what is not compared, and what limits the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...profiler.documents import encode
from ..comparison import Comparison
from ..pictures import HEADS, cells, comparison_figure, counts, summary
from .page import Picture, Report, Section, Table
from .texts import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Behind the numbers of a row stand verdict, latency and what its intervals cover.
_NUMBERS = 5


def comparison_report(found: Comparison) -> Report:
    """Lay a comparison out."""
    data = encode(found.document())
    assert isinstance(data, dict)
    rows = [_texts_first(cells(row)) for row in found.rows]
    verdicts = ", ".join(f"{n:,} {verdict}" for verdict, n in sorted(found.verdicts.items()))
    alone = counts(found)

    def draw() -> Figure:
        return comparison_figure(found)

    alt = f"{len(rows)} workloads on A and B, and the ratio B / A of each with its 95 % interval; {verdicts}"
    sections = [
        Section(
            "Workload by workload",
            pictures=[Picture("comparison", alt, draw)],
            tables=[Table(f"{len(rows)} workloads, the largest difference first", _texts_first(HEADS), rows, left=5)],
        ),
        Section("What is not compared", "" if alone else "Both sides have the same workloads.", notes=alone),
    ]
    if found.notes:
        sections.append(Section("What limits these numbers", notes=found.notes))
    return Report(
        kind="comparison",
        subject=f"{found.a.text}-{found.b.text}",
        title=f"A: {found.a.text}; B: {found.b.text}",
        lead=summary(found),
        facts=[
            ("All together", f"A {number(found.total_a_ms)} ms, B {number(found.total_b_ms)} ms"),
            ("Verdicts", verdicts),
        ],
        sections=sections,
        data=data,
    )


def _texts_first(row: Sequence[str]) -> list[str]:
    """Behind the name what is text, then the numbers."""
    return [row[0], *row[_NUMBERS:], *row[1:_NUMBERS]]
