"""What a call costs before any work is done: measured with two tiny graphs in every session.

A chain of n sigmoids over one element takes ``overhead + n × node``; chains of two lengths give both. Kernels of a few
microseconds are mostly overhead, and a network pays it once where a sum of blocks would pay it twenty times.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import cache

from .graphs.operators import GraphBuilder
from .records import Visit
from .workload import Workload, workload_from_model

_SHORT, _LONG = 1, 17


@cache
def overhead_probes() -> dict[str, Workload]:
    """The two chains by name."""
    return {f"sigmoid_chain_{length}": _sigmoid_chain(length) for length in (_SHORT, _LONG)}


def _sigmoid_chain(length: int) -> Workload:
    graph = GraphBuilder("overhead")
    value = graph.input((1,))
    for _ in range(length):
        value = graph.activate(value, "sigmoid")
    return workload_from_model(f"sigmoid_chain_{length}", "operator", graph.model(value))


def overhead_ms(visits: Mapping[str, Sequence[Visit]]) -> float | None:
    """Milliseconds of an empty call; None when either chain has no valid visit."""
    medians = {}
    for name, made in visits.items():
        values = [visit.value_ns for visit in made if visit.value_ns is not None]
        if not values:
            return None
        medians[name] = statistics.median(values)
    short, long = medians[f"sigmoid_chain_{_SHORT}"], medians[f"sigmoid_chain_{_LONG}"]
    node = max(0.0, (long - short) / (_LONG - _SHORT))
    return max(0.0, short - _SHORT * node) / 1e6
