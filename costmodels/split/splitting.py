"""Cut a network at every place, price both halves of each cut, and measure those of the best cuts where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.protocol import Settings
from ...profiler.workload import Workload
from ..campaign import Planned
from ..dataset import Sample
from ..planned_campaign import Narrator, measure_planned
from .cuts import SplitGraph, cut_points
from .halves import Halves, halves
from .prices import SPLIT, HalfPrice, Pricer, as_measured, measured_halves, nothing
from .sides import Side
from .table import Question, Split, SplitCut, split_cut

#: So often the best cuts are measured: what was predicted too low is then no longer the best, and the next one is.
_ROUNDS_MAX = 4


@dataclass(frozen=True)
class PricedSide:
    """A side, and what says what halves cost there."""

    side: Side
    pricer: Pricer


class Splitting:
    """One network between two sides.

    Args:
        store: what was measured there counts before what is predicted; None where there is no database.

    Raises:
        UsageError: what goes back is asked for, and the size of an output is not known; or as ``halves``.
        SimulatorError: a side's simulator failed.
    """

    def __init__(
        self,
        workload: Workload,
        question: Question,
        head: PricedSide,
        tail: PricedSide,
        narrator: Narrator,
        store: Store | None = None,
    ) -> None:
        self.head, self.tail = head, tail
        self._workload, self._question, self._store = workload, question, store
        self._graph = SplitGraph(workload)
        self._found = cut_points(self._graph, tensors_max=question.tensors_max, compress=question.compress)
        self._halves = [halves(self._graph, point) for point in self._found.points]
        self._answers = [self._answer_bytes(one) for one in self._halves]
        narrator.stage("pricing both halves of each cut", len(self._halves))
        self._heads: list[HalfPrice | None] = []
        self._tails: list[HalfPrice | None] = []
        for one, point in zip(self._halves, self._found.points, strict=True):
            self._heads.append(None if one.head is None else head.pricer.price(one.head))
            self._tails.append(None if one.tail is None else tail.pricer.price(one.tail))
            narrator.step(point.after)

    def table(self) -> Split:
        """Every cut, with what is known now."""
        heads = self._prices(self._heads, self.head.side, [one.head for one in self._halves])
        tails = self._prices(self._tails, self.tail.side, [one.tail for one in self._halves])
        rows = zip(self._found.points, heads, tails, self._answers, strict=True)
        cuts = tuple(split_cut(number, *row, self._question) for number, row in enumerate(rows))
        return Split(self._workload.name, cuts, self._found.too_many, self._found.unknown)

    def measure_best(self, count: int, narrator: Narrator, settings: Settings | None = None) -> Split:
        """Measure the halves of the best cuts on the sides that are this machine, until the best one is measured.

        Args:
            count: cuts that are measured in a round, those with the smallest totals, lower bounds among them.

        Raises:
            UsageError: neither side is this machine, or there is no store to keep what is measured.
        """
        if self._store is None or not any(one.side.setting for one in (self.head, self.tail)):
            raise UsageError(
                "neither side is this machine: nothing can be measured from here",
                remedy="--head host or --tail host; a board of the fleet measures a file: edgecost predict --measure",
            )
        asked: set[str] = set()
        for _ in range(_ROUNDS_MAX):
            ranked = sorted(self.table().cuts, key=_total)[:count]
            if not self._measure(ranked, asked, narrator, settings):
                break
        return self.table()

    def _measure(
        self, cuts: Sequence[SplitCut], asked: set[str], narrator: Narrator, settings: Settings | None
    ) -> bool:
        """Whether there was anything that had not been asked for before."""
        assert self._store is not None
        found = False
        for one, name in ((self.head, "head"), (self.tail, "tail")):
            if one.side.setting is None:
                continue
            made = [self._half(cut.number, name) for cut in cuts]
            wanted = {half.graph_hash: half for half in made if half is not None}
            known = measured_halves(list(wanted.values()), self._store, one.side)
            left = [half for key, half in wanted.items() if key not in known and f"{name}/{key}" not in asked]
            if left:
                asked.update(f"{name}/{half.graph_hash}" for half in left)
                campaign = f"split-{self._workload.graph_hash[:12]}-{name}"
                jobs = [Planned(half, SPLIT, half.name) for half in left]
                title = f"measuring {name}s"
                measure_planned(
                    self._store, one.side.setting, campaign, SPLIT, jobs, narrator, title, settings=settings
                )
                found = True
        return found

    def _half(self, number: int, name: str) -> Workload | None:
        return self._halves[number].head if name == "head" else self._halves[number].tail

    def _prices(
        self, prices: Sequence[HalfPrice | None], side: Side, made: Sequence[Workload | None]
    ) -> list[HalfPrice]:
        there = [half for half in made if half is not None]
        known: dict[str, Sample] = {} if self._store is None else measured_halves(there, self._store, side)
        has_energy = any(price is not None and price.energy is not None for price in prices)
        return [
            nothing(has_energy=has_energy)
            if price is None or half is None
            else as_measured(price, known.get(half.graph_hash))
            for price, half in zip(prices, made, strict=True)
        ]

    def _answer_bytes(self, one: Halves) -> int:
        if not self._question.round_trip:
            return 0
        found = [(name, self._graph.crossing(name, compress=False)) for name in one.answers]
        unknown = [name for name, crossing in found if crossing is None]
        if unknown:
            raise UsageError(
                f"nobody knows how large the output {unknown[0]} is, which is to go back",
                remedy="leave out --round-trip",
            )
        return sum(crossing.size_bytes for _, crossing in found if crossing is not None)


def _total(cut: SplitCut) -> float:
    return float("inf") if cut.total_ms is None else cut.total_ms
