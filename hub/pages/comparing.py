"""Two selections of what was measured, side by side: who is faster, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...costmodels.comparison import Comparison, compare
from ...costmodels.pictures import comparison_svg
from ...db import Store
from ...profiler.errors import UsageError

#: A comparison reads every attempt; beyond this it takes seconds, and a graph has to be named.
_ATTEMPTS_MAX = 200_000
_ROWS_SHOWN = 200


@dataclass(frozen=True)
class ComparedRow:
    """One workload on both sides; ``ratio`` is B / A, its bounds at 95 %."""

    name: str
    detail: str
    a_ms: float
    b_ms: float
    ratio: float
    lo: float | None
    hi: float | None
    verdict: str


@dataclass(frozen=True)
class CompareView:
    """What was asked for, and what came of it; nothing was asked for where ``a`` is empty.

    Attributes:
        choices: selections that this store knows, for a form.
        only: how many workloads one side alone has, by reason.
    """

    a: str
    b: str
    graph: str
    choices: tuple[str, ...]
    rows: tuple[ComparedRow, ...] = ()
    of: int = 0
    mean: float | None = None
    mean_lo: float | None = None
    mean_hi: float | None = None
    verdicts: Mapping[str, int] | None = None
    only_a: Mapping[str, int] | None = None
    only_b: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()


def compare_view(store: Store, a: str, b: str, graph: str) -> CompareView:
    """Compare, or offer what could be compared.

    Raises:
        UsageError: as ``compare``, or there is too much for a page.
    """
    choices = tuple(sorted({f"device={one.name}" for one in store.devices()}))
    if not a and not b:
        return CompareView(a, b, graph, choices)
    found = _compared(store, a, b, graph)
    rows = tuple(
        ComparedRow(one.name, one.detail, one.a.latency_ms, one.b.latency_ms, one.ratio, one.lo, one.hi, one.verdict)
        for one in found.rows[:_ROWS_SHOWN]
    )
    return CompareView(
        a, b, graph, choices, rows, len(found.rows), found.geometric_mean, found.mean_lo, found.mean_hi,
        found.verdicts, found.only_on("A"), found.only_on("B"), tuple(found.notes),
    )  # fmt: skip


def compare_picture(store: Store, a: str, b: str, graph: str) -> str:
    """The visits of both sides and the ratios, as SVG; raises as ``compare_view``."""
    return comparison_svg(_compared(store, a, b, graph))


def _compared(store: Store, a: str, b: str, graph: str) -> Comparison:
    if not graph and store.counts().measurements > _ATTEMPTS_MAX:
        raise UsageError(
            f"there are more than {_ATTEMPTS_MAX:,} measurements: too many to compare all of them on a page",
            remedy="name a graph by the beginning of its hash; or in a terminal: edgecost compare A B",
        )
    return compare(store, a or "all", b or "all", graph_hash=graph or None)
