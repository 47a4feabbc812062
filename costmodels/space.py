"""A search space at one resolution and width: its positions, its cells, its architectures, and the graphs of both.

Spaces are read from TOML by ``space_file.py``; this module holds no numbers of any space. ONNX is imported only by
``workload`` and ``build``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiler.errors import ModelError, UsageError
from .spaces.cell import Cell, Shape
from .spaces.coding import Coding, NativeArch, NativeForm, Numeric, Position, Stage

if TYPE_CHECKING:
    from ..profiler.workload import Workload

#: A population: the numeric array, one native architecture, or a list of them.
Population = NDArray[np.integer] | Mapping[str, Sequence[float]] | Sequence[NativeArch]


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        sequence: the network in order: a ``Cell`` where nothing is chosen, a ``Position`` where something is.
        stages: runs of positions; an elastic stage has only its first ones active.
        input_shape: NCHW, batch 1.
        native: how the space's own code writes an architecture.
    """

    name: str
    title: str
    citation: str
    resolution: int
    width: float
    input_shape: Shape
    native: NativeForm
    sequence: tuple[Cell | Position, ...] = field(repr=False)
    stages: tuple[Stage, ...] = field(repr=False)

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """The searchable positions, in the order of an architecture's indices."""
        return tuple(step for step in self.sequence if isinstance(step, Position))

    @cached_property
    def fixed(self) -> tuple[Cell, ...]:
        """The cells that are in every architecture, in order, each as often as it is there."""
        return tuple(step for step in self.sequence if isinstance(step, Cell))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The distinct cells in the order of the network, identities included."""
        distinct: dict[str, Cell] = {}
        for step in self.sequence:
            for cell in (step,) if isinstance(step, Cell) else step.cells:
                distinct.setdefault(cell.key, cell)
        return tuple(distinct.values())

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
        indices = iter(self.one(arch).tolist())
        cells: list[Cell] = []
        for step in self.sequence:
            if isinstance(step, Cell):
                cells.append(step)
            elif (index := next(indices)) >= 0:
                cells.append(step.cells[index])
        return cells

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
        return None if cell.absent else _workload(cell.key, "block", cell.input_shape, [cell])

    def build(self, arch: NDArray[np.integer] | NativeArch) -> Workload:
        """A whole network.

        Raises:
            UsageError: the architecture is not of this space.
            ModelError: the cells do not fit together.
        """
        numeric = self.one(arch)
        return _workload(f"{self.name}-{_arch_name(numeric)}", "network", self.input_shape, self.cells_of(numeric))

    def _draw(self, rng: np.random.Generator, n: int) -> Numeric:
        archs = np.empty((n, len(self.positions)), dtype=np.int16)
        for place, position in enumerate(self.positions):
            archs[:, place] = rng.integers(len(position.cells), size=n)
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
                radices = [len(self.positions[stage.start + i].cells) for i in range(depth)]
                if within < math.prod(radices):
                    break
                within -= math.prod(radices)
            for radix in radices:
                within, index = divmod(within, radix)
                arch.append(index)
            arch.extend([-1] * (stage.stop - stage.start - len(radices)))
        return arch


def _stage_size(positions: tuple[Position, ...], stage: Stage) -> int:
    return sum(math.prod(len(positions[stage.start + i].cells) for i in range(depth)) for depth in stage.depths)


def _arch_name(numeric: Numeric) -> str:
    return ".".join("_" if index < 0 else str(index) for index in numeric.tolist())


def _workload(name: str, kind: str, input_shape: Shape, cells: list[Cell]) -> Workload:
    from ..profiler.graphs.operators import GraphBuilder
    from ..profiler.workload import workload_from_model

    graph = GraphBuilder(name)
    x = graph.input(input_shape)
    for cell in cells:
        if graph.shapes[x] != cell.input_shape:
            raise ModelError(f"{name}: {cell.key} was given {graph.shapes[x]} instead of {cell.input_shape}")
        x = cell.build(graph, x)
        if graph.shapes[x] != cell.output_shape:
            raise ModelError(f"{name}: {cell.key} made {graph.shapes[x]} instead of {cell.output_shape}")
    return workload_from_model(name, kind, graph.model(x), tuple(graph.weights))
