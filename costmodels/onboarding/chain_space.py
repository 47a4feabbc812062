"""A space of ``spaces/*.toml``, or anybody's own, as architectures: a chain with one candidate at each position."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...profiler.errors import UsageError
from ..space import Space
from ..space_models.encoding import ChainWork, Encoding, Ints, encode_chain
from ..spaces.cell import Cell
from .arch_space import Archs, arch_text, read_arch_text

if TYPE_CHECKING:
    from ...profiler.workload import Workload

#: What stands at a position that the depth of its stage leaves out.
ABSENT = "absent"


@dataclass(frozen=True, eq=False)
class ChainSpace:
    """See ``ArchSpace``. A position that is not active has a candidate of its own, ``absent``, which costs nothing."""

    space: Space
    pool: Archs
    order = None

    @property
    def name(self) -> str:
        return f"{self.space.name}-{self.space.resolution}-w{self.space.width:g}"

    @property
    def prefix(self) -> str:
        return f"{self.space.name}-"

    @cached_property
    def op_names(self) -> tuple[str, ...]:
        """The names of all candidates, in the order in which the positions bring them."""
        names = dict.fromkeys(name for position in self.space.positions for name in position.names)
        return (*names, ABSENT) if any(stage.elastic for stage in self.space.stages) else tuple(names)

    def canonical(self, archs: Archs) -> Archs:
        """Every position of a chain reaches the output."""
        return archs

    def encode(self, archs: Archs) -> Encoding:
        rows = self.space.check_arch(archs)
        place = np.arange(rows.shape[1])
        chosen = np.where(rows >= 0, self._vocabulary[place, np.maximum(rows, 0)], len(self.op_names) - 1)
        return encode_chain(chosen, self._stages, self._work, op_names=self.op_names)

    def build(self, arch: Archs) -> Workload:
        return self.space.build(arch)

    def parse(self, text: str) -> Archs:
        """``3.0.1._``, or JSON in the space's own form: a list of indices, a dictionary of lists."""
        row = read_arch_text(text.strip(), len(self.space.positions))
        if row is not None:
            return self.space.one(row)
        try:
            native = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(
                f"{text!r} is no architecture of {self.space.name}",
                remedy=f"write it like {arch_text(self.pool[0])}, or as JSON: {json.dumps(self._native)}",
            ) from error
        if not isinstance(native, (dict, list)):
            raise UsageError(f"{text!r} is no architecture of {self.space.name}: neither a list nor a dictionary")
        return self.space.one(native)

    @property
    def _native(self) -> object:
        return self.space.decode(self.pool[:1])[0]

    @cached_property
    def _vocabulary(self) -> Ints:
        """Place in ``op_names`` of each candidate, shape (positions, most candidates of a position)."""
        index = {name: number for number, name in enumerate(self.op_names)}
        widest = max(len(position.names) for position in self.space.positions)
        table = np.zeros((len(self.space.positions), widest), dtype=np.int64)
        for place, position in enumerate(self.space.positions):
            table[place, : len(position.names)] = [index[name] for name in position.names]
        return table

    @cached_property
    def _stages(self) -> Ints:
        lengths = [stage.stop - stage.start for stage in self.space.stages]
        return np.repeat(np.arange(len(lengths)), lengths)

    @cached_property
    def _work(self) -> ChainWork:
        index = {name: number for number, name in enumerate(self.op_names)}
        work = np.zeros((3, len(self.space.positions), len(self.op_names)))
        for place, position in enumerate(self.space.positions):
            for name, cell in zip(position.names, position.cells, strict=True):
                work[:, place, index[name]] = _cell_work(cell)
        return ChainWork(*work)


def _cell_work(cell: Cell) -> tuple[float, float, float]:
    """Multiply-adds, depthwise multiply-adds and elements written; squeezing is left out, it is a hundredth of them."""
    spec, inward, outward = cell.spec, cell.input_shape, cell.output_shape
    before, after = math.prod(inward[2:]), math.prod(outward[2:])
    if spec.block == "inverted_residual":
        depthwise = after * spec.kernel**2 * spec.mid
        expansion = before * inward[1] * spec.mid / spec.groups if spec.expands else 0.0
        written = before * spec.mid * spec.expands + after * (spec.mid + outward[1])
        return expansion + depthwise + after * spec.mid * outward[1] / spec.groups, depthwise, written
    if spec.block == "conv":
        return after * spec.kernel**2 * inward[1] * outward[1], 0.0, after * outward[1]
    return 0.0, 0.0, 0.0
