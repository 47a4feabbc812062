"""A search space at one resolution and width: its positions, its cells, its architectures, and the graphs of both.

Spaces are read from TOML by ``space_file.py``; this module holds no numbers of any space. ONNX is imported only by
``workload`` and ``build``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiler.errors import UsageError
from .spaces.cell import Cell
from .spaces.coding import Coding, NativeArch, NativeForm, Numeric, Position, Stage
from .spaces.kinds import Shape
from .spaces.slots import CURRENT, Factor, Part, Slot, factors_of
from .spaces.wiring import build_workload

if TYPE_CHECKING:
    from ..profiler.workload import Workload

#: A population: the numeric array, one native architecture, or a list of them.
Population = NDArray[np.integer] | Mapping[str, Sequence[float]] | Sequence[NativeArch]


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        sequence: the network in order: a ``Cell`` where nothing is chosen, a ``Position`` where it chooses its own
            cell, a ``Slot`` where a cell depends on several choices or is no link of a chain.
        positions: the choices, in the order of an architecture's indices.
        stages: runs of positions; an elastic stage has only its first ones active.
        input_shape: NCHW, ids of tokens (N, L), or a signal (N, C, L); batch 1.
        native: how the space's own code writes an architecture.
    """

    name: str
    title: str
    citation: str
    resolution: int
    width: float
    input_shape: Shape
    native: NativeForm
    sequence: tuple[Cell | Position | Slot, ...] = field(repr=False)
    positions: tuple[Position, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)

    @cached_property
    def is_chain(self) -> bool:
        """Whether every position chooses its own cell, and each cell reads what the one before it wrote."""
        return not any(isinstance(step, Slot) for step in self.sequence)

    def require_chain(self, purpose: str) -> None:
        """Make sure that every position chooses its own cell.

        Raises:
            UsageError: cells depend on several choices, or are no chain.
        """
        if not self.is_chain:
            raise UsageError(
                f"space {self.name} has cells that depend on several choices, and {purpose} looks at one at a time",
                remedy="Price its architectures instead: edgecost lut price, edgecost lut search.",
            )

    @cached_property
    def fixed(self) -> tuple[Cell, ...]:
        """The cells that are in every architecture, in order, each as often as it is there."""
        fixed: list[Cell] = []
        for step in self.sequence:
            if isinstance(step, Cell):
                fixed.append(step)
            elif isinstance(step, Slot) and not step.scope:
                fixed.extend(part.cell for part in step.parts[()] if not part.cell.absent)
        return tuple(fixed)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The distinct cells in the order of the network, identities included."""
        distinct: dict[str, Cell] = {}
        for step in self.sequence:
            for cell in _cells_at(step):
                distinct.setdefault(cell.key, cell)
        return tuple(distinct.values())

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """In which tables the costs of ``measurable`` cells add up to those of an architecture."""
        number = {cell.key: place for place, cell in enumerate(self.measurable)}
        return factors_of(self.sequence, self.positions, number)

    def uses(self, archs: NDArray[np.integer]) -> NDArray[np.float64]:
        """How often each architecture executes each measurable cell, float64 (n, cells)."""
        numeric = self.check_arch(archs)
        total = np.zeros((len(numeric), len(self.measurable)))
        for factor in self.factors:
            factor.add_uses(numeric, total)
        return total

    @cached_property
    def measurable(self) -> tuple[Cell, ...]:
        """The distinct cells that execute something: what a complete LUT must hold."""
        return tuple(cell for cell in self.cells if not cell.absent)

    @cached_property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(_stage_size(self.positions, stage) for stage in self.stages)

    @cached_property
    def _coding(self) -> Coding:
        return Coding(self.native, self.positions, self.stages, self.resolution)

    def used_by(self, archs: NDArray[np.integer]) -> list[Cell]:
        """The measurable cells that at least one of the architectures executes."""
        used = np.flatnonzero(self.uses(archs).sum(axis=0))
        return [self.measurable[place] for place in used]

    def cell(self, key: str) -> Cell:
        """The cell with this key.

        Raises:
            UsageError: the space has no such cell.
        """
        for cell in self.cells:
            if cell.key == key:
                return cell
        raise UsageError(f"space {self.name} has no cell {key!r} at resolution {self.resolution}, width {self.width}")

    def cells_of(self, arch: NDArray[np.integer] | NativeArch) -> list[Cell]:
        """Every cell that one architecture executes, in order and with repetitions; identities included."""
        return [part.cell for part in self._parts(self.one(arch).tolist())]

    def sample(self, n: int, seed: int) -> Numeric:
        """``n`` distinct architectures, int16 (n, positions); the same for the same seed.

        Depths are drawn uniformly, then candidates; where ``n`` is more than half of the space, architectures are.

        Raises:
            UsageError: the space has fewer than ``n`` architectures.
        """
        if not 0 <= n <= self.size:
            raise UsageError(f"{n} distinct architectures were asked of a space of {self.size}")
        rng = np.random.default_rng(seed)
        if self.size < 2 * n:
            ranks = rng.permutation(self.size)[:n]
            return np.array([self._unrank(int(rank)) for rank in ranks], dtype=np.int16).reshape(n, -1)
        distinct: dict[bytes, Numeric] = {}
        while len(distinct) < n:
            for row in self._draw(rng, n - len(distinct)):
                distinct.setdefault(row.tobytes(), row)
        return np.array(list(distinct.values()), dtype=np.int16).reshape(n, len(self.positions))

    def check_arch(self, archs: NDArray[np.integer]) -> Numeric:
        """A numeric population, checked: int16 (n, positions).

        Raises:
            UsageError: says which architecture, which position, and what may stand there.
        """
        return self._coding.check(archs)

    def encode(self, archs: Sequence[NativeArch]) -> Numeric:
        """Native architectures to int16 (n, positions). Raises ``UsageError`` like ``check_arch``."""
        return self._coding.encode(archs)

    def decode(self, archs: NDArray[np.integer]) -> list[dict[str, list[int | float]] | list[int]]:
        """Numeric architectures to native ones."""
        return self._coding.decode(archs)

    def population(self, archs: Population) -> Numeric:
        """Whatever form a population has, as int16 (n, positions)."""
        if isinstance(archs, np.ndarray):
            return self.check_arch(archs)
        return self.encode([archs] if isinstance(archs, Mapping) else archs)

    def one(self, arch: NDArray[np.integer] | NativeArch) -> Numeric:
        """One architecture in either form, as int16 (positions,)."""
        numeric = self.check_arch(arch) if isinstance(arch, np.ndarray) else self.encode([arch])
        if len(numeric) != 1:
            raise UsageError(f"one architecture is needed, {len(numeric)} were given")
        row: Numeric = numeric[0]
        return row

    def workload(self, cell: Cell) -> Workload | None:
        """The cell alone as a graph to measure; None for an identity, which has nothing to run."""
        return cell_workload(cell)

    def build(self, arch: NDArray[np.integer] | NativeArch) -> Workload:
        """A whole network.

        Raises:
            UsageError: the architecture is not of this space.
            ModelError: the cells do not fit together.
        """
        numeric = self.one(arch)
        name = f"{self.name}-{_arch_name(numeric)}"
        dtype = "int64" if len(self.input_shape) == 2 else "float32"
        inputs = [(CURRENT, self.input_shape, dtype)]
        return build_workload(name, "network", inputs, list(self._parts(numeric.tolist())))

    def _parts(self, arch: list[int]) -> Iterator[Part]:
        """Every cell that one architecture executes, with its place in the graph."""
        place = {position.label: number for number, position in enumerate(self.positions)}
        for step in self.sequence:
            if isinstance(step, Cell):
                yield Part(step)
            elif isinstance(step, Slot):
                yield from step.chosen(arch)
            elif (index := arch[place[step.label]]) >= 0:
                yield Part(step.cells[index])

    def _draw(self, rng: np.random.Generator, n: int) -> Numeric:
        archs = np.empty((n, len(self.positions)), dtype=np.int16)
        for place, position in enumerate(self.positions):
            archs[:, place] = rng.integers(len(position.names), size=n)
        for stage in self.stages:
            depth = rng.choice(np.array(stage.depths), size=n)
            inactive = np.arange(stage.stop - stage.start) >= depth[:, None]
            archs[:, stage.start : stage.stop][inactive] = -1
        return archs

    def _unrank(self, rank: int) -> list[int]:
        """The architecture with this number in 0 .. size - 1 (mixed radix)."""
        arch: list[int] = []
        for stage in self.stages:
            rank, within = divmod(rank, _stage_size(self.positions, stage))
            for depth in stage.depths:
                radices = [len(self.positions[stage.start + i].names) for i in range(depth)]
                if within < math.prod(radices):
                    break
                within -= math.prod(radices)
            for radix in radices:
                within, index = divmod(within, radix)
                arch.append(index)
            arch.extend([-1] * (stage.stop - stage.start - len(radices)))
        return arch


def cell_workload(cell: Cell) -> Workload | None:
    """A cell of any space alone; None for an identity."""
    if cell.absent:
        return None
    names = tuple(f"input{number}" if number else "input" for number in range(cell.spec.inputs))
    inputs = [(name, cell.input_shape, cell.input_dtype) for name in names]
    return build_workload(cell.key, "block", inputs, [Part(cell, names)])


def _stage_size(positions: tuple[Position, ...], stage: Stage) -> int:
    return sum(math.prod(len(positions[stage.start + i].names) for i in range(depth)) for depth in stage.depths)


def _cells_at(step: Cell | Position | Slot) -> Iterable[Cell]:
    if isinstance(step, Cell):
        return (step,)
    if isinstance(step, Position):
        return step.cells
    return (part.cell for parts in step.parts.values() for part in parts)


def _arch_name(numeric: Numeric) -> str:
    return ".".join("_" if index < 0 else str(index) for index in numeric.tolist())
