"""The cells of a grid as arrays, some at a time: products of parameters, enumerated in order or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..spaces.block_reader import ACTIVATIONS
from ..spaces.cell import BlockSpec, Cell, make_cell

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Blocks that a grid may be of; a column ``block`` holds places in it, a column ``act`` places in ``ACTIVATIONS``.
BLOCKS: tuple[str, ...] = ("conv", "inverted_residual", "global_pool", "linear", "pooled_linear")
#: The columns that every cell has; what a block does not have is 0, or 1 where it multiplies.
COLUMNS = "block resolution channels out kernel stride mid groups squeeze act expands shortcut".split()
_CONV, _RESIDUAL, _POOL, _LINEAR, _POOLED = range(len(BLOCKS))


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells.

    Attributes:
        columns: ``COLUMNS`` by name, each of shape (cells,).
    """

    columns: dict[str, Ints]

    @property
    def count(self) -> int:
        return len(self.columns["block"])

    def take(self, chosen: Ints | npt.NDArray[np.bool_]) -> Cells:
        return Cells({name: column[chosen] for name, column in self.columns.items()})

    @cached_property
    def sizes(self) -> dict[str, Ints]:
        """The numbers that sizes of kernels may depend on; two of them follow from the others."""
        one = self.columns
        return {
            **{name: one[name] for name in ("channels", "mid", "out", "squeeze", "kernel", "stride", "resolution")},
            "side": self._side,
            "padding": one["kernel"] // 2,
        }

    @cached_property
    def adds(self) -> npt.NDArray[np.bool_]:
        """As ``BlockSpec.adds``."""
        one = self.columns
        kept = (one["out"] == one["channels"]) & (self._side == one["resolution"])
        return kept & (one["block"] == _RESIDUAL) & (one["shortcut"] == 1)

    @cached_property
    def families(self) -> Ints:
        """A number for each cell: cells of one number are built of the same operators."""
        one = self.columns
        found: Ints = one["groups"] * len(ACTIVATIONS) + one["act"]
        for flag in (self.adds, one["squeeze"] > 0, one["expands"]):
            found = 2 * found + flag
        return found * len(BLOCKS) + one["block"]

    def cell(self, place: int) -> Cell:
        """One of them, to be built."""
        one = {name: int(column[place]) for name, column in self.columns.items()}
        spec = BlockSpec(
            block=BLOCKS[one["block"]],
            out=one["out"],
            kernel=one["kernel"],
            stride=one["stride"],
            act=ACTIVATIONS[one["act"]],
            expand=one["mid"] / one["channels"],
            mid=one["mid"],
            groups=one["groups"],
            squeeze=one["squeeze"],
            expands=bool(one["expands"]),
            shortcut=bool(one["shortcut"]),
        )
        return make_cell("grid", "choice", spec, (1, one["channels"], one["resolution"], one["resolution"]))

    def keys(self) -> list[str]:
        """``BlockSpec.key`` of each; of cells of one family only the numbers differ."""
        found = np.empty(self.count, object)
        families = self.families
        for family in np.unique(families).tolist():
            own = np.flatnonzero(families == family)
            found[own] = self.take(own)._family_keys()
        keys: list[str] = found.tolist()
        return keys

    @cached_property
    def _side(self) -> Ints:
        """Of the output, before a linear layer."""
        one = self.columns
        strided: Ints = (one["resolution"] - 1) // one["stride"] + 1
        return np.where(np.isin(one["block"], (_POOL, _LINEAR, _POOLED)), 1, strided)

    def _family_keys(self) -> list[str]:
        """All but the numbers is that of the first."""
        one = self.columns
        block, groups, act = (int(one[name][0]) for name in ("block", "groups", "act"))
        parts, numbers = [f"{BLOCKS[block]}-%dx%dx%d"], [one["resolution"], one["resolution"], one["channels"]]
        if block in (_LINEAR, _POOLED):
            parts, numbers = [*parts, "%d"], [*numbers, one["out"]]
        else:
            parts, numbers = [*parts, "%dx%dx%d"], [*numbers, self._side, self._side, one["out"]]
        if block in (_CONV, _RESIDUAL):
            parts, numbers = [*parts, "k%d", "s%d"], [*numbers, one["kernel"], one["stride"]]
        if block == _RESIDUAL:
            parts, numbers = [*parts, "m%d"], [*numbers, one["mid"]]
            parts += ["noexpand"] if not one["expands"][0] else []
            parts += [f"g{groups}"] if groups > 1 else []
            if one["squeeze"][0]:
                parts, numbers = [*parts, "se%d"], [*numbers, one["squeeze"]]
            parts += ["add"] if self.adds[0] else []
        parts += [ACTIVATIONS[act]] if act else []
        text = "-".join(parts)
        return [text % row for row in zip(*(number.tolist() for number in numbers), strict=True)]


@dataclass(frozen=True)
class Box:
    """A product of parameters.

    Attributes:
        axes: names of columns with their values, the slowest first. ``squeeze`` holds places in ``squeezes``.
        fixed: the columns that have one value.
        squeezes: channels inside squeeze-and-excitation as shares of the middle ones; 0 for none.
        squeeze_divisor: what those channels are rounded to.
    """

    axes: tuple[tuple[str, tuple[int, ...]], ...]
    fixed: tuple[tuple[str, int], ...]
    squeezes: tuple[float, ...] = (0.0,)
    squeeze_divisor: int = 8

    @property
    def size(self) -> int:
        return math.prod(len(values) for _, values in self.axes)

    def cells(self, ranks: Ints) -> Cells:
        """Those with these numbers in 0 … size - 1."""
        columns = {name: np.full(len(ranks), value, np.int64) for name, value in self.fixed}
        left = ranks
        for name, values in reversed(self.axes):
            left, place = np.divmod(left, len(values))
            columns[name] = np.array(values, np.int64)[place]
        ratios = np.array(self.squeezes)[columns["squeeze"]]
        columns["squeeze"] = round_channels_of(columns["mid"] * ratios, self.squeeze_divisor)
        if not columns["expands"].all():
            columns["mid"] = np.where(columns["expands"] == 1, columns["mid"], columns["channels"])
        return Cells({name: columns[name] for name in COLUMNS})


@dataclass(frozen=True)
class Grid:
    """Boxes of cells, one behind the other."""

    name: str
    boxes: tuple[Box, ...]

    @cached_property
    def starts(self) -> Ints:
        """The number of the first cell of each box, and behind the last."""
        return np.concatenate([[0], np.cumsum([box.size for box in self.boxes])]).astype(np.int64)

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def limits(self) -> dict[str, int]:
        """The largest value of each of ``Cells.sizes``; where it is rounded, something that it does not exceed."""
        found = dict.fromkeys(COLUMNS, 0)
        for box in self.boxes:
            for name, values in (*box.axes, *((name, (value,)) for name, value in box.fixed)):
                found[name] = max(found[name], *values)
        found["mid"] = max(found["mid"], found["channels"])
        ratio = max(max(box.squeezes) for box in self.boxes)
        found["squeeze"] = int(found["mid"] * ratio) + 2 * max(box.squeeze_divisor for box in self.boxes)
        return {**found, "side": found["resolution"], "padding": found["kernel"]}

    def cells(self, ranks: Ints) -> Cells:
        """Those with these numbers in 0 … size - 1, which ascend."""
        box = np.searchsorted(self.starts, ranks, side="right") - 1
        parts = [self.boxes[one].cells(ranks[box == one] - self.starts[one]) for one in np.unique(box).tolist()]
        return joined(parts)

    def batches(self, count: int) -> Iterator[Cells]:
        """All of them in order, so many at a time."""
        for first in range(0, self.size, count):
            yield self.cells(np.arange(first, min(first + count, self.size)))


def joined(parts: Sequence[Cells]) -> Cells:
    """One behind the other; there is at least one."""
    return Cells({name: np.concatenate([part.columns[name] for part in parts]) for name in COLUMNS})


def round_channels_of(values: Floats, divisor: int) -> Ints:
    """``round_channels`` of each, but 0 of 0: no squeeze-and-excitation at all."""
    if divisor == 1:
        rounded = np.maximum(1, np.rint(values).astype(np.int64))
    else:
        rounded = np.maximum(divisor, (values + divisor / 2).astype(np.int64) // divisor * divisor)
        rounded = np.where(rounded < 0.9 * values, rounded + divisor, rounded)
    return np.where(values > 0, rounded, 0)
