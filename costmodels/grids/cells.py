"""The cells of a grid as arrays, some at a time: products of parameters, in order or by their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..spaces.block_reader import spec_of_kind
from ..spaces.cell import BlockSpec, Cell, make_cell
from ..spaces.kinds import KINDS, Value
from .fields import STRUCTURAL, Fields, fields_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: More than there are texts of one field, and groups.
_TEXTS_MAX, _GROUPS_MAX = 16, 1 << 12


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of one kind of block.

    Attributes:
        columns: its fields and those of its input by name, each of shape (cells,): numbers, flags as 0 and 1, and
            places in ``texts``.
        texts: what the fields that are texts may be.
    """

    block: str
    columns: Mapping[str, Ints]
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def fields(self) -> Fields:
        return fields_of(self.block)

    def take(self, chosen: Ints | Flags) -> Cells:
        return Cells(self.block, {name: column[chosen] for name, column in self.columns.items()}, self.texts)

    @cached_property
    def sizes(self) -> dict[str, Ints]:
        """The numbers that sizes of kernels may depend on; two of them follow from others."""
        found = {name: self.columns[name] for name in (*self.fields.inputs, *self.fields.numbers)}
        if "stride" in found and "resolution" in found:
            found["side"] = (found["resolution"] - 1) // found["stride"] + 1
        if "kernel" in found:
            found["padding"] = found["kernel"] // 2
        return found

    @cached_property
    def adds(self) -> Flags:
        """As ``BlockSpec.adds``; of kinds that add by rules of their own, whether they might."""
        found = np.ones(self.count, bool)
        if "out" in self.columns and "channels" in self.columns:
            found = found & (self.columns["out"] == self.columns["channels"])
        if "side" in self.sizes:
            found = found & (self.sizes["side"] == self.columns["resolution"])
        return found & (self.columns["shortcut"] == 1) if "shortcut" in self.columns else found

    @cached_property
    def families(self) -> Ints:
        """A number for each cell: but for sizes, cells of one number are the same graph."""
        residual = self.block in KINDS or "shortcut" in self.columns
        found = self.adds.astype(np.int64) if residual else np.zeros(self.count, np.int64)
        if "squeeze" in self.columns:
            found = 2 * found + (self.columns["squeeze"] > 0)
        for names, limit in ((self.fields.flags, 2), (self.fields.texts, _TEXTS_MAX), (STRUCTURAL, _GROUPS_MAX)):
            for name in names:
                if name in self.columns:
                    found = found * limit + self.columns[name]
        return found

    def cell(self, place: int) -> Cell:
        """One of them, to be built; raises UsageError where the block does not fit behind its input."""
        one = {name: int(column[place]) for name, column in self.columns.items()}
        return make_cell("grid", "choice", self._spec(one), self.fields.input_shape(one))

    def keys(self) -> list[str]:
        """``BlockSpec.key`` of each; of plain blocks of one family only the numbers differ."""
        if self.block in KINDS:
            return [self.cell(place).key for place in range(self.count)]
        found = np.empty(self.count, object)
        families = self.families
        for family in np.unique(families).tolist():
            own = np.flatnonzero(families == family)
            found[own] = self.take(own)._family_keys()
        keys: list[str] = found.tolist()
        return keys

    def _spec(self, one: Mapping[str, int]) -> BlockSpec:
        values: dict[str, Value] = {name: one[name] for name in self.fields.numbers}
        values |= {name: bool(one[name]) for name in self.fields.flags}
        values |= {name: self.texts[name][one[name]] for name in self.fields.texts}
        if self.block in KINDS:
            return spec_of_kind(self.block, {name: values[name] for name in KINDS[self.block].fields})
        if "mid" in one:
            values["expand"] = one["mid"] / one["channels"]
        values.setdefault("out", one["channels"])
        return BlockSpec(self.block, **values)  # type: ignore[arg-type]  # the fields are those of the class

    def _family_keys(self) -> list[str]:
        """All but the numbers is that of the first."""
        one, first = self.columns, self.cell(0)
        resolution, channels, side = one["resolution"], one["channels"], self.sizes.get("side")
        numbers = [resolution, resolution, channels]
        if len(first.output_shape) == 2:
            numbers.append(one["out"])
        elif side is None:
            numbers += [np.ones_like(channels), np.ones_like(channels), channels]
        else:
            numbers += [side, side, one["out"]]
        # The key of the first with gaps where its numbers stand: they begin each part, behind a letter or none.
        parts = [self.block, "x".join(["%d"] * 3), "x".join(["%d"] * (len(numbers) - 3))]
        for part in first.key.split("-")[3:]:
            told = [name for letter, name in _LETTERS.items() if name in one and part == f"{letter}{one[name][0]}"]
            if told:
                numbers.append(one[told[0]])
                part = f"{part.rstrip('0123456789')}%d"
            parts.append(part)
        text = "-".join(parts)
        return [text % row for row in zip(*(number.tolist() for number in numbers), strict=True)]


#: How the keys of plain blocks name numbers.
_LETTERS = {"k": "kernel", "s": "stride", "m": "mid", "se": "squeeze"}


@dataclass(frozen=True)
class Box:
    """A product of parameters.

    Attributes:
        axes: names of columns with their values, the slowest first.
        fixed: the columns that have one value.
        squeezes: of an inverted residual, whose column ``squeeze`` holds places in it: channels inside
            squeeze-and-excitation as shares of others; 0 for none. Elsewhere empty.
        squeeze_of, squeeze_divisor: of which column they are shares, and what they are rounded to.
    """

    axes: tuple[tuple[str, tuple[int, ...]], ...]
    fixed: tuple[tuple[str, int], ...]
    squeezes: tuple[float, ...] = ()
    squeeze_of: str = "mid"
    squeeze_divisor: int = 8

    @property
    def size(self) -> int:
        return math.prod(len(values) for _, values in self.axes)

    def columns(self, ranks: Ints) -> dict[str, Ints]:
        """Of the cells with these numbers in 0 … size - 1."""
        columns = {name: np.full(len(ranks), value, np.int64) for name, value in self.fixed}
        left = ranks
        for name, values in reversed(self.axes):
            left, place = np.divmod(left, len(values))
            columns[name] = np.array(values, np.int64)[place]
        if self.squeezes:
            shares = columns[self.squeeze_of] * np.array(self.squeezes)[columns["squeeze"]]
            columns["squeeze"] = round_channels_of(shares, self.squeeze_divisor)
        return columns

    @property
    def limits(self) -> dict[str, int]:
        """The largest value of each column; where it is rounded, something that it does not exceed."""
        found = {name: max(values) for name, values in (*self.axes, *((name, (one,)) for name, one in self.fixed))}
        if self.squeezes:
            found["squeeze"] = int(found[self.squeeze_of] * max(self.squeezes)) + 2 * self.squeeze_divisor
        return found


@dataclass(frozen=True)
class Part:
    """Boxes of one kind of block, one behind the other."""

    block: str
    boxes: tuple[Box, ...]
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def starts(self) -> Ints:
        """The number of the first cell of each box, and behind the last."""
        return np.concatenate([[0], np.cumsum([box.size for box in self.boxes])]).astype(np.int64)

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def limits(self) -> dict[str, int]:
        """The largest value of each of ``Cells.sizes``, or more."""
        boxes = [box.limits for box in self.boxes]
        found = {name: max(box[name] for box in boxes) for name in boxes[0]}
        return {**found, "side": found.get("resolution", 0), "padding": found.get("kernel", 0)}

    def cells(self, ranks: Ints) -> Cells:
        """Those with these numbers in 0 … size - 1, which ascend."""
        box = np.searchsorted(self.starts, ranks, side="right") - 1
        parts = [self.boxes[one].columns(ranks[box == one] - self.starts[one]) for one in np.unique(box).tolist()]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Cells(self.block, columns, self.texts)

    def batches(self, count: int) -> Iterator[Cells]:
        """All of them in order, so many at a time."""
        for first in range(0, self.size, count):
            yield self.cells(np.arange(first, min(first + count, self.size)))


@dataclass(frozen=True)
class Grid:
    """Cells of one or several kinds of block."""

    name: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def round_channels_of(values: Floats, divisor: int) -> Ints:
    """``round_channels`` of each, but 0 of 0: no squeeze-and-excitation at all."""
    if divisor == 1:
        rounded = np.maximum(1, np.rint(values).astype(np.int64))
    else:
        rounded = np.maximum(divisor, (values + divisor / 2).astype(np.int64) // divisor * divisor)
        rounded = np.where(rounded < 0.9 * values, rounded + divisor, rounded)
    return np.where(values > 0, rounded, 0)
