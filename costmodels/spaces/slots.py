"""Places of a network whose cells depend on several choices, and the tables in which costs of architectures add up.

In a chain each position chooses its own cell. Elsewhere a cell depends on choices made in other places: a width that
the next block sees, one kernel for a whole stage, the edges of a graph. A ``Slot`` says which choices those are (its
scope) and what stands there for each combination. For prices everything comes down to one table for each scope
(``Factor``): a search space is a factor graph, and the cost of an architecture the sum of its factors.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .cell import Cell
from .coding import Position

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: The value that a chain hands on from block to block.
CURRENT = ""


@dataclass(frozen=True)
class Part:
    """A cell and its place in the graph.

    Attributes:
        reads: names of the values that go into it, in order.
        writes: name of the value that comes out of it; a later part may write it again.
    """

    cell: Cell
    reads: tuple[str, ...] = (CURRENT,)
    writes: str = CURRENT


@dataclass(frozen=True)
class Slot:
    """What stands at a place, by the choices that it depends on.

    Attributes:
        scope: those choices, as numbers of positions, ascending; empty where nothing is chosen.
        parts: of each combination of candidates (-1 for a position that is not active), in the order of the scope;
            nothing where nothing is executed.
    """

    label: str
    scope: tuple[int, ...]
    parts: Mapping[tuple[int, ...], tuple[Part, ...]] = field(repr=False)

    def chosen(self, arch: Sequence[int]) -> tuple[Part, ...]:
        """What one architecture executes here."""
        return self.parts[tuple(arch[place] for place in self.scope)]


@dataclass(frozen=True)
class Factor:
    """Everything that depends on one set of choices.

    A table of the factor is flat, with ``sizes`` entries along each choice; the last along each answers for -1.

    Attributes:
        entries, cells, counts: equal in length: the flat entry, the number of a cell that stands there, how often.
    """

    scope: tuple[int, ...]
    sizes: tuple[int, ...]
    entries: Ints = field(repr=False)
    cells: Ints = field(repr=False)
    counts: Floats = field(repr=False)

    def table(self, costs: Floats) -> Floats:
        """Sum of the costs of its cells for each entry; ``costs`` has one number for each cell of the space."""
        summed = np.bincount(self.entries, weights=self.counts * costs[self.cells], minlength=math.prod(self.sizes))
        return summed.astype(np.float64)

    def entry(self, archs: npt.NDArray[np.integer]) -> Ints | npt.NDArray[np.integer] | int:
        """The flat entry of every architecture, (n,); where nothing decides, the only one.

        Where one choice decides, -1 stays: it is the last entry too.
        """
        if not self.scope:
            return 0
        if len(self.scope) == 1:
            return archs[:, self.scope[0]]
        flat = np.zeros(len(archs), dtype=np.int64)
        for place, size in zip(self.scope, self.sizes, strict=True):
            flat = flat * size + archs[:, place].astype(np.int64) % size
        return flat

    def add_uses(self, archs: npt.NDArray[np.integer], total: Floats) -> None:
        """Add how often each architecture executes each cell because of this factor to ``total``, (n, cells)."""
        entry = np.broadcast_to(np.asarray(self.entry(archs)), len(archs)) % math.prod(self.sizes)
        order = np.argsort(self.entries, kind="stable")
        sorted_entries = self.entries[order]
        first = np.searchsorted(sorted_entries, entry, side="left")
        length = np.searchsorted(sorted_entries, entry, side="right") - first
        rows = np.repeat(np.arange(len(archs)), length)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(length) - length, length)
        found = order[np.repeat(first, length) + within]
        np.add.at(total, (rows, self.cells[found]), self.counts[found])


def factors_of(
    steps: Sequence[Cell | Position | Slot], positions: Sequence[Position], number: Mapping[str, int]
) -> tuple[Factor, ...]:
    """The factors of a space, one for each scope, in the order of the network.

    Args:
        number: of each cell that executes something, by its key.
    """
    gathered: dict[tuple[int, ...], Counter[tuple[int, int]]] = {}
    place_of = {position.label: place for place, position in enumerate(positions)}
    # A cell that is repeated is one step, many times; steps hold tables, and are not hashed for it.
    times = Counter(id(step) for step in steps)
    for step in {id(step): step for step in steps}.values():
        scope, rows = _rows(step, place_of)
        sizes = _sizes(scope, positions)
        found = gathered.setdefault(scope, Counter())
        for chosen, executed in rows:
            flat = 0
            for index, size in zip(chosen, sizes, strict=True):
                flat = flat * size + index % size
            for cell in executed:
                if cell.key in number:
                    found[flat, number[cell.key]] += times[id(step)]
    return tuple(_factor(scope, _sizes(scope, positions), found) for scope, found in gathered.items())


def _rows(
    step: Cell | Position | Slot, place_of: Mapping[str, int]
) -> tuple[tuple[int, ...], Iterable[tuple[tuple[int, ...], tuple[Cell, ...]]]]:
    """The scope of a step, and the cells of each combination of its candidates."""
    if isinstance(step, Cell):
        return (), [((), (step,))]
    if isinstance(step, Position):
        return (place_of[step.label],), [((index,), (cell,)) for index, cell in enumerate(step.cells)]
    return step.scope, [(chosen, tuple(part.cell for part in parts)) for chosen, parts in step.parts.items()]


def _factor(scope: tuple[int, ...], sizes: tuple[int, ...], found: Counter[tuple[int, int]]) -> Factor:
    flat = np.array([*found], dtype=np.int64).reshape(-1, 2)
    return Factor(scope, sizes, flat[:, 0], flat[:, 1], np.array([*found.values()], dtype=np.float64))


def _sizes(scope: Sequence[int], positions: Sequence[Position]) -> tuple[int, ...]:
    return tuple(len(positions[place].names) + 1 for place in scope)
