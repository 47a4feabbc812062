"""A cell as a graph: which edges carry something from its input to its output, and which ways lead through it.

Edges are pairs of nodes, numbered from the input, 0, to the output; which of them an architecture has is an array of
shape (architectures, edges). Nothing here knows operators.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Edges = Sequence[tuple[int, int]]


def checked_edges(edges: npt.ArrayLike) -> list[tuple[int, int]]:
    """Pairs of nodes; raises UsageError where a node does not come before the one it leads to."""
    way = [(int(source), int(target)) for source, target in np.asarray(edges).reshape(-1, 2)]
    if not way or any(not 0 <= source < target for source, target in way):
        raise UsageError("an edge must go from a lower node to a higher one", remedy="number the nodes topologically")
    return way


def carrying(present: Bools, edges: Edges) -> Bools:
    """Edges that carry something of the input to the output, shape as ``present``, (architectures, edges)."""
    return reaching(present, edges) & reached(present, edges)


def reaching(present: Bools, edges: Edges) -> Bools:
    """Edges from which the output can be reached, shape as ``present``."""
    output = max(target for _, target in edges)
    useful = np.zeros((len(present), output + 1), dtype=bool)
    useful[:, output] = True
    alive = np.zeros_like(present)
    # Targets from the output backwards: when an edge is asked, all edges that leave its target have answered.
    for place in sorted(range(len(edges)), key=lambda place: -edges[place][1]):
        source, target = edges[place]
        alive[:, place] = present[:, place] & useful[:, target]
        useful[:, source] |= alive[:, place]
    return alive


def reached(present: Bools, edges: Edges) -> Bools:
    """Edges that carry something of the input, shape as ``present``."""
    filled = np.zeros((len(present), max(target for _, target in edges) + 1), dtype=bool)
    filled[:, 0] = True
    fed = np.zeros_like(present)
    for place in sorted(range(len(edges)), key=lambda place: edges[place][0]):
        source, target = edges[place]
        fed[:, place] = present[:, place] & filled[:, source]
        filled[:, target] |= fed[:, place]
    return fed


def additions(there: Bools, edges: Edges) -> Floats:
    """Edges into a node beyond the first, shape (architectures,)."""
    into = [[place for place, (_, target) in enumerate(edges) if target == node] for node in {t for _, t in edges}]
    columns = [np.maximum(there[:, places].sum(axis=1) - 1.0, 0.0) for places in into]
    return np.asarray(np.sum(columns, axis=0))


def filled(there: Bools, edges: Edges) -> Floats:
    """Nodes that an edge leads into, shape (architectures,)."""
    into = [[place for place, (_, target) in enumerate(edges) if target == node] for node in {t for _, t in edges}]
    return np.asarray(np.sum([there[:, places].any(axis=1) for places in into], axis=0), dtype=np.float64)


def longest(there: Bools, weight: Floats, edges: Edges) -> Floats:
    """Weight of the heaviest way from anywhere to the output; weights must not be negative."""
    reach = np.zeros((len(there), max(target for _, target in edges) + 1))
    for place in sorted(range(len(edges)), key=lambda place: edges[place][0]):
        source, target = edges[place]
        cost = np.where(there[:, place], reach[:, source] + weight[:, place], 0.0)
        reach[:, target] = np.maximum(reach[:, target], cost)
    return reach[:, -1]


def ways(edges: Edges, most: int) -> list[list[int]]:
    """All ways from node 0 to the last node, as places of edges; stops soon after ``most``."""
    output = max(target for _, target in edges)
    found: list[list[int]] = []
    open_ways: list[tuple[int, list[int]]] = [(0, [])]
    while open_ways and len(found) <= most:
        node, way = open_ways.pop()
        if node == output:
            found.append(way)
            continue
        open_ways += [(target, [*way, place]) for place, (source, target) in enumerate(edges) if source == node]
    return sorted(found)
