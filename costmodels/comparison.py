"""Two selections of stored measurements side by side: for every workload that both have, who is faster and how sure.

Compared are only quantities that differ in what the selections name: device, runtime, version, provider, threads,
precision, level and options must else be equal. What has no counterpart is counted with its reason, never dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.records import Measurement
from .dataset import load_samples
from .pairing import OneSided, Pair, Side, pair_up, read_attempts
from .ratios import Floats, Ratio, SideSample, interval_of, ratio_of
from .selections import Selection, parse_selection
from .validation import repeatability_radius

#: Rows from which the note on chance findings is worth its line: one in twenty is then expected.
_CHANCE_ROWS = 20


@dataclass(frozen=True)
class Row:
    """One workload on both sides.

    Attributes:
        detail: device and profile as far as they differ between rows; empty when they do not.
        basis: ``net`` when the call overhead is taken off on both sides, else ``raw``.
        ratio: B / A; below 1 B is faster. ``lo`` and ``hi`` bound it at 95 %; None when a side has too few visits.
        spread_a, spread_b: what the interval covers of each side; empty when there is none.
    """

    name: str
    detail: str
    basis: str
    a: SideSample = field(repr=False)
    b: SideSample = field(repr=False)
    ratio: float
    lo: float | None
    hi: float | None
    spread_a: str
    spread_b: str

    @property
    def winner(self) -> str | None:
        """``A`` or ``B`` where the interval leaves out 1, ``""`` where it holds 1, None where there is no interval."""
        if self.lo is None or self.hi is None:
            return None
        return "A" if self.lo > 1.0 else "B" if self.hi < 1.0 else ""

    @property
    def verdict(self) -> str:
        winner = self.winner
        if winner is None:
            return "too few visits"
        return f"{winner} wins" if winner else "no difference shown"

    def document(self) -> dict[str, object]:
        """For JSON; latencies in milliseconds."""
        return {
            "workload": self.name,
            "detail": self.detail,
            "basis": self.basis,
            "a_ms": self.a.latency_ms,
            "b_ms": self.b.latency_ms,
            "a_sessions": len(self.a.sessions_ms),
            "b_sessions": len(self.b.sessions_ms),
            "a_visits": self.a.visits,
            "b_visits": self.b.visits,
            "ratio": self.ratio,
            "ratio_lo": self.lo,
            "ratio_hi": self.hi,
            "a_interval": self.spread_a,
            "b_interval": self.spread_b,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """All rows, largest difference first, and what they say together.

    Attributes:
        mean_lo, mean_hi: bound the geometric mean of the ratios at 95 % for these workloads, not for others like them;
            None when a row has no interval.
        one_sided: workloads with a latency on one side only.
        failures_a, failures_b: how many workloads of each side have attempts but no latency, by last status.
        notes: what a reader must know to judge the numbers, a sentence each.
    """

    a: Selection
    b: Selection
    rows: tuple[Row, ...]
    mean_lo: float | None
    mean_hi: float | None
    one_sided: tuple[OneSided, ...]
    failures_a: Mapping[str, int]
    failures_b: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def geometric_mean(self) -> float:
        """Of the ratios B / A."""
        return math.exp(math.fsum(math.log(row.ratio) for row in self.rows) / len(self.rows))

    @property
    def verdicts(self) -> dict[str, int]:
        """Rows by verdict."""
        return dict(Counter(row.verdict for row in self.rows))

    @property
    def total_a_ms(self) -> float:
        """Sum of the common workloads on A."""
        return math.fsum(row.a.latency_ms for row in self.rows)

    @property
    def total_b_ms(self) -> float:
        return math.fsum(row.b.latency_ms for row in self.rows)

    def only_on(self, side: str) -> dict[str, int]:
        """Workloads with a latency on this side (``A`` or ``B``) alone, counted by the reason on the other."""
        return dict(Counter(one.reason for one in self.one_sided if one.side == side).most_common())

    def slower(self, share: float) -> tuple[Row, ...]:
        """Rows where B is slower than A by more than this share, and the whole interval says so."""
        return tuple(row for row in self.rows if row.lo is not None and row.lo > 1.0 + share)

    def document(self) -> dict[str, object]:
        """For JSON; latencies in milliseconds."""
        return {
            "a": self.a.text,
            "b": self.b.text,
            "rows": [row.document() for row in self.rows],
            "geometric_mean": self.geometric_mean,
            "geometric_mean_lo": self.mean_lo,
            "geometric_mean_hi": self.mean_hi,
            "interval_coverage": 0.95,
            "verdicts": self.verdicts,
            "total_a_ms": self.total_a_ms,
            "total_b_ms": self.total_b_ms,
            "only_a": self.only_on("A"),
            "only_b": self.only_on("B"),
            "one_sided": [{"workload": one.name, "side": one.side, "reason": one.reason} for one in self.one_sided],
            "failures_a": dict(self.failures_a),
            "failures_b": dict(self.failures_b),
            "notes": list(self.notes),
        }


def compare(
    store: Store,
    a: str,
    b: str,
    *,
    graph_hash: str | None = None,
    purposes: Collection[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two selections of what a store holds.

    Args:
        a, b: as ``parse_selection`` reads them; everything (``all``) only where the other side or a narrowing by model
            or purpose leaves something to compare.
        graph_hash: only this graph (the beginning of its hash will do) and its conversions to other precisions.
        purposes: only measurements made for these.
        seed: of the bootstrap.

    Raises:
        UsageError: a selection cannot be read or matches nothing, both are everything, nothing is common to the two,
            or one side holds several quantities for one workload; the message says what each side has.
    """
    first, second = parse_selection(a), parse_selection(b)
    if first.is_everything and second.is_everything and graph_hash is None and purposes is None:
        raise UsageError("there is nothing to compare: both sides are everything", remedy="narrow one, as in threads=1")
    attempts = read_attempts(store, graph_hash, purposes)
    sides = Side.of("A", first, attempts), Side.of("B", second, attempts)
    pairs, one_sided = pair_up(*sides)
    read = _Reader(store, pairs)
    judged = [read.row(pair, seed) for pair in pairs]
    rows = [row for row, _ in judged]
    lo, hi = _mean_interval([ratio for _, ratio in judged])
    return Comparison(
        a=first,
        b=second,
        rows=tuple(sorted(rows, key=lambda row: (-abs(math.log(row.ratio)), row.name, row.detail))),
        mean_lo=lo,
        mean_hi=hi,
        one_sided=one_sided,
        failures_a=sides[0].failures,
        failures_b=sides[1].failures,
        notes=_notes(rows, pairs),
    )


class _Reader:
    """Reads the visits of pairs and the repeatability of their devices, each once."""

    def __init__(self, store: Store, pairs: Sequence[Pair]) -> None:
        attempts = [attempt for pair in pairs for attempt in (*pair.a, *pair.b)]
        hashes = {attempt.measurement.graph_hash for attempt in attempts}
        # Also what was retracted since the pairs were made: they were made of it.
        found = store.measurements(graph_hashes=hashes, usable_only=False, with_visits=True)
        self._full = {measurement.measurement_id: measurement for measurement in found}
        settings = {(one.device.identity, one.measurement.profile_hash): one.profile for one in attempts}
        self._radius = {
            (device, profile_hash): repeatability_radius(load_samples(store, device, profile))
            for (device, profile_hash), profile in settings.items()
        }

    def row(self, pair: Pair, seed: int) -> tuple[Row, Ratio]:
        a, b = ([self._full[attempt.measurement.measurement_id] for attempt in side] for side in (pair.a, pair.b))
        net_a, net_b = _sessions(a, net=True), _sessions(b, net=True)
        basis = "net" if net_a is not None and net_b is not None else "raw"
        if net_a is None or net_b is None:
            net_a, net_b = _sessions(a, net=False), _sessions(b, net=False)
        assert net_a is not None, "every latency is above 0"
        assert net_b is not None, "every latency is above 0"
        sample_a, sample_b = self._sample(net_a, a), self._sample(net_b, b)
        ratio = ratio_of(sample_a, sample_b, seed=seed, key=pair.key)
        row = Row(
            name=pair.name,
            detail=pair.detail,
            basis=basis,
            a=sample_a,
            b=sample_b,
            ratio=ratio.ratio,
            lo=ratio.lo,
            hi=ratio.hi,
            spread_a=sample_a.spread,
            spread_b=sample_b.spread,
        )
        return row, ratio

    def _sample(self, sessions_ms: tuple[tuple[float, ...], ...], found: Sequence[Measurement]) -> SideSample:
        # A pair holds one device and one profile on each side (``pairing.py``).
        return SideSample(sessions_ms, self._radius[found[0].device_identity, found[0].profile_hash])


def _sessions(measurements: Sequence[Measurement], *, net: bool) -> tuple[tuple[float, ...], ...] | None:
    """The values of the valid visits of each session in milliseconds; None when net and one is not above 0.

    A measurement that was interrupted and taken up again has visits of several sessions. Where no raw visits are kept
    its median is its one value.
    """
    sessions: dict[str, list[float]] = {}
    for measurement in measurements:
        if net and measurement.overhead_ms is None:
            return None
        taken_off = (measurement.overhead_ms or 0.0) if net else 0.0
        values = [(visit.session, visit.value_ns / 1e6) for visit in measurement.visits if visit.value_ns is not None]
        if not values and measurement.latency is not None:
            values = [(measurement.session, measurement.latency.median_ms)]
        for session, value_ms in values:
            sessions.setdefault(session, []).append(value_ms - taken_off)
    if not all(value > 0 for values_ms in sessions.values() for value in values_ms):
        return None
    return tuple(tuple(sessions[name]) for name in sorted(sessions))


def _mean_interval(ratios: Sequence[Ratio]) -> tuple[float | None, float | None]:
    draws: list[Floats] = [ratio.log_draws for ratio in ratios if ratio.log_draws is not None]
    if len(draws) < len(ratios):
        return None, None
    return interval_of(np.mean(draws, axis=0))


def _notes(rows: Sequence[Row], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """What limits the numbers: cause, consequence, remedy."""
    notes = []
    raw = sum(row.basis == "raw" for row in rows)
    if raw:
        notes.append(
            f"{raw} of {len(rows)} ratios are of raw latencies: the call overhead was not measured on both sides, or a"
            " visit is not above it."
        )
    narrow = sum("within the session" in (row.spread_a, row.spread_b) for row in rows)
    if narrow:
        notes.append(
            f"{narrow} of {len(rows)} intervals hold within the session only: a side has fewer than 3 processes, and"
            " nothing was measured twice on its device. Another process may differ by more; measure again, or run a"
            " campaign with a repeatability panel."
        )
    widened = sum(any("widened" in spread for spread in (row.spread_a, row.spread_b)) for row in rows)
    if widened:
        notes.append(
            f"{widened} of {len(rows)} intervals are of a side with fewer than 3 processes, widened by what two"
            " processes differ by on its device (repeatability panel)."
        )
    few = sum(row.winner is None for row in rows)
    if few:
        notes.append(f"{few} of {len(rows)} have too few visits for an interval; measure them again.")
    shared = sum(len(pair.shared) for pair in pairs)
    if shared:
        notes.append(f"{shared} measurements are on both sides: narrow the selections so that they do not overlap.")
    if len(rows) >= _CHANCE_ROWS:
        notes.append(
            f"At 95 % about {len(rows) / 20:.0f} of {len(rows)} intervals would leave out 1 by chance if nothing"
            " differed."
        )
    return tuple(notes)
