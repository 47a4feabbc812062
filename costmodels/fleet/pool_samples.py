"""What several boards measured, as one device's samples: each board's own pace is found on graphs that all measured.

Boards of one kind differ by a factor of a few per cent: another clock, another memory chip, a better heat sink. The
model is multiplicative, ``t(graph, board) = t(graph) · f(board)``; the logarithms of the factors are least-squares row
effects of a two-way table without interaction (Tukey, Exploratory Data Analysis, 1977, ch. 10), their median set to 0.
What is left after it is the boards' disagreement, and goes into the intervals as a difference between sessions.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...db import Store
from ...profiler.records import Device, RuntimeProfile
from ..dataset import BLOCK_PURPOSES, Sample, load_samples


@dataclass(frozen=True)
class PoolSamples:
    """Samples of several boards, brought to one pace.

    Attributes:
        samples: one for each graph, with the sessions of every board that measured it.
        factors: by the name of a board: how much longer it takes than the middle one. None where it shares too few
            graphs with others to know; its numbers are taken as they are.
        shared: graphs that more than one board measured.
    """

    samples: tuple[Sample, ...]
    factors: Mapping[str, float | None]
    shared: int

    @property
    def spread(self) -> float | None:
        """How much longer the slowest board takes than the fastest, less 1; None where that is not known."""
        known = [factor for factor in self.factors.values() if factor is not None]
        return max(known) / min(known) - 1.0 if len(known) > 1 else None


#: Graphs that a board must share with others before its pace is taken from them.
SHARED_MIN = 3


def load_pool_samples(
    store: Store,
    boards: Sequence[Device],
    profile: RuntimeProfile,
    *,
    purposes: Sequence[str] = BLOCK_PURPOSES,
    factors: Mapping[str, float | None] | None = None,
) -> PoolSamples:
    """All usable measurements of the boards under a profile, grouped by graph.

    Args:
        factors: each board's, where they are known already; None finds them in these measurements.
    """
    found = {board.name: load_samples(store, board.identity, profile, purposes=purposes) for board in boards}
    own, shared = board_factors(
        {name: {one.workload.graph_hash: one.latency_ms for one in samples} for name, samples in found.items()}
    )
    factors = own if factors is None else factors
    grouped: dict[str, list[Sample]] = {}
    for name, samples in found.items():
        for one in samples:
            grouped.setdefault(one.workload.graph_hash, []).append(_at_pace(one, factors[name] or 1.0))
    return PoolSamples(tuple(_together(some) for some in grouped.values()), factors, shared)


def board_factors(measured: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, float | None], int]:
    """Each board's factor from what it shares with others, and how many graphs are shared.

    Args:
        measured: by board, by graph: latency in ms, above 0.
    """
    boards = list(measured)
    counts: dict[str, int] = {}
    for graphs in measured.values():
        for graph in graphs:
            counts[graph] = counts.get(graph, 0) + 1
    shared = [graph for graph, count in counts.items() if count > 1]
    logs = np.array([[np.log(measured[board].get(graph, np.nan)) for graph in shared] for board in boards])
    enough = [at for at, board in enumerate(boards) if sum(graph in measured[board] for graph in shared) >= SHARED_MIN]
    factors: dict[str, float | None] = dict.fromkeys(boards)
    if len(enough) > 1:
        effects = _row_effects(logs[enough])
        for at, effect in zip(enough, effects, strict=True):
            factors[boards[at]] = float(np.exp(effect))
    return factors, len(shared)


def _row_effects(logs: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[float]:
    """Least-squares row effects of a two-way table with holes; their median is 0."""
    boards, graphs = logs.shape
    at_board, at_graph = np.nonzero(~np.isnan(logs))
    design = np.zeros((len(at_board), boards + graphs))
    design[np.arange(len(at_board)), at_board] = 1.0
    design[np.arange(len(at_board)), boards + at_graph] = 1.0
    # The rank is one short (a constant may move between rows and columns); the shortest solution is as good as any.
    found, *_ = np.linalg.lstsq(design, logs[at_board, at_graph], rcond=None)
    effects = [float(one) for one in found[:boards]]
    middle = statistics.median(effects)
    return [effect - middle for effect in effects]


def _at_pace(sample: Sample, factor: float) -> Sample:
    return replace(
        sample,
        latency_ms=sample.latency_ms / factor,
        lo_ms=sample.lo_ms / factor,
        hi_ms=sample.hi_ms / factor,
        raw_ms=sample.raw_ms / factor,
        sessions_ms=tuple(value / factor for value in sample.sessions_ms),
    )


def _together(samples: Sequence[Sample]) -> Sample:
    sessions = tuple(value for sample in samples for value in sample.sessions_ms)
    return replace(
        samples[0],
        latency_ms=statistics.median(sessions),
        lo_ms=min(sample.lo_ms for sample in samples),
        hi_ms=max(sample.hi_ms for sample in samples),
        raw_ms=statistics.median(sample.raw_ms for sample in samples),
        sessions_ms=sessions,
        visits=sum(sample.visits for sample in samples),
    )
