"""Read a grid from TOML: tables of cells, each the product of what its fields list.

A field is one value, a list, or a range ``{ from = 8, to = 64, step = 8 }``, which may also end at a multiple of the
input channels: ``{ from = 8, to_input = 8, step = 8 }``. Docs: ``docs/how-to/fill-a-table-of-millions.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from ...profiler.errors import UsageError
from ..spaces.cell import round_channels
from ..spaces.kinds import KINDS
from ..spaces.table import Table, Toml
from .cells import Box, Grid, Part
from .fields import GRID_BLOCKS, Fields, fields_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Fields of an inverted residual from which others are worked out.
_DERIVING = ("expand", "mid_divisor", "squeeze_of", "squeeze_divisor")
#: Axes that vary fastest, the fastest last: cells that follow each other then share most of their kernels.
_FASTEST = ("squeeze", "mid", "out")
#: Cells that a grid may have: more than anybody stores; a slip in a range is found before hours are spent on it.
_CELLS_MAX = 10**12


def load_grid(path: Path) -> Grid:
    """The grid of a file.

    Raises:
        UsageError: it cannot be read, or has a fault (with table, field and remedy).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="Give a readable TOML file in UTF-8.") from error
    return read_grid(text, str(path))


def read_grid(text: str, file: str) -> Grid:
    """A grid from the text of its TOML file; ``file`` is the name that error messages give."""
    try:
        document = cast("dict[str, Toml]", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}", remedy="Correct the line that the message names.") from error
    table = Table(file, document, ["name", "cells"])
    boxes: dict[str, list[Box]] = {}
    readers: dict[str, _Reader] = {}
    for number, row in enumerate(table.tables("cells"), 1):
        block = Table(f"{file}: cells {number}", row).one_of("block", GRID_BLOCKS)
        reader = readers.setdefault(block, _Reader(block))
        fields = Table(f"{file}: cells {number} ({block})", row, ["block", *reader.names])
        boxes.setdefault(block, []).extend(box for box in reader.boxes(fields) if box.size)
    parts = [Part(block, tuple(some), readers[block].texts) for block, some in boxes.items() if some]
    grid = Grid(table.text("name"), tuple(parts))
    if not 0 < grid.size <= _CELLS_MAX:
        raise table.error("cells", f"makes {grid.size:,} cells", f"The least is 1, the most {_CELLS_MAX:,}.")
    return grid


class _Reader:
    """Reads the tables of one kind of block; ``texts`` grows with what they name."""

    def __init__(self, block: str) -> None:
        self.block = block
        self.fields: Fields = fields_of(block)
        self.texts = dict(self.fields.texts)

    @property
    def names(self) -> list[str]:
        """Fields that a table may have."""
        own = [*self.fields.inputs, *self.fields.numbers, *self.fields.flags, *self.fields.texts]
        return [*own, *_DERIVING] if self.block == "inverted_residual" else own

    def boxes(self, given: Table) -> Iterator[Box]:
        """One for each number of input channels, on which others may depend, with and without squeezing."""
        axes = {name: tuple(map(int, _flags(given, name, one))) for name, one in self.fields.flags.items()}
        axes |= {name: self._texts(given, name) for name in self.fields.texts}
        for channels in _numbers(given, "channels") if "channels" in self.fields.inputs else [0]:
            for name in (*self.fields.inputs, *self.fields.numbers):
                if name != "channels":
                    axes[name] = self._numbers(given, name, channels)
            self._check(given, axes, channels)
            fixed = (("channels", channels),) if channels else ()
            if self.block != "inverted_residual":
                yield Box(_ordered(axes), fixed)
                continue
            shares, base = _squeezes(given)
            divisor = given.integer("squeeze_divisor", 8, minimum=1)
            # Without squeeze-and-excitation there is no gate.
            for some, gates in (
                ([0.0] if 0 in shares else [], axes["gate"][:1]),
                ([*filter(None, shares)], axes["gate"]),
            ):
                own = {**axes, "squeeze": tuple(range(len(some))), "gate": gates}
                yield Box(_ordered(own), fixed, tuple(some), base, divisor)

    def _numbers(self, given: Table, name: str, channels: int) -> tuple[int, ...]:
        if name == "mid" and self.block == "inverted_residual":
            if _flags(given, "expands", True) == (False,):
                return (channels,)
            return _mids(given, channels)
        if name == "squeeze" and self.block == "inverted_residual":
            return ()
        default = 1 if name == "resolution" and self.block == "linear" else self.fields.numbers.get(name)
        return _numbers(given, name, default, channels)

    def _texts(self, given: Table, name: str) -> tuple[int, ...]:
        """Places of what is named; of a field for any text, what is named joins the others."""
        offered = self.texts[name]
        value = given.data.get(name, offered[0])
        names = value if isinstance(value, list) and value else [value]
        found = []
        for one in names:
            field = Table(given.where, {name: one})
            if len(self.fields.texts[name]) > 1:
                field.one_of(name, offered)
            elif field.text(name) not in self.texts[name]:
                self.texts[name] = (*self.texts[name], field.text(name))
            found.append(self.texts[name].index(field.text(name)))
        return tuple(dict.fromkeys(found))

    def _check(self, given: Table, axes: dict[str, tuple[int, ...]], channels: int) -> None:
        for kernel in axes.get("kernel", ()):
            if kernel % 2 == 0 and not (self.block in KINDS and KINDS[self.block].even):
                raise given.error("kernel", f"{kernel} is even", "Same padding is defined for odd kernels.")
        if 0 in axes.get("expands", ()) and axes["expands"] != (0,):
            raise given.error("expands", "is true and false", "Give two tables: without expansion there is no 'mid'.")
        for groups in axes.get("groups", ()):
            sizes = (channels, *axes.get("mid", ()), *axes.get("out", ()))
            if groups > 1 and (axes.get("expands") == (0,) or any(size % groups for size in sizes)):
                raise given.error(
                    "groups", f"{groups} does not divide all channels", "Give channels, mid and out that are multiples."
                )


def _ordered(axes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    order = sorted(axes, key=lambda name: _FASTEST.index(name) if name in _FASTEST else -1)
    return tuple((name, axes[name]) for name in order)


def _flags(given: Table, name: str, default: bool) -> tuple[bool, ...]:
    value = given.data.get(name, default)
    every = value if isinstance(value, list) and value else [value]
    return tuple(dict.fromkeys(Table(given.where, {name: one}).flag(name, default) for one in every))


def _numbers(given: Table, name: str, default: int | None = None, channels: int = 0) -> tuple[int, ...]:
    """Whole numbers: one, a list or a range; each once, in the order given."""
    value = given.data.get(name)
    # What counts something that a block may do without can be none; a size cannot.
    least = 0 if default == 0 else 1
    if isinstance(value, dict):
        steps = given.sub(name, ["from", "to", "to_input", "step"])
        last = int(channels * steps.number("to_input", minimum=0)) if "to_input" in value else steps.integer("to")
        return tuple(range(steps.integer("from", minimum=least), last + 1, steps.integer("step", 1, minimum=1)))
    every: Sequence[Toml] = (
        value if isinstance(value, list) and value else [given.integer(name, default, minimum=least)]
    )
    return tuple(dict.fromkeys(Table(given.where, {name: one}).integer(name, minimum=least) for one in every))


def _squeezes(given: Table) -> tuple[list[float], str]:
    """Shares of channels inside squeeze-and-excitation, and the column that they are shares of."""
    value = given.data.get("squeeze", 0.0)
    every = value if isinstance(value, list) and value else [value]
    shares = [Table(given.where, {"squeeze": one}).number("squeeze", minimum=0) for one in every]
    base = given.one_of("squeeze_of", ("mid", "input"), "mid")
    return list(dict.fromkeys(shares)), "mid" if base == "mid" else "channels"


def _mids(given: Table, channels: int) -> tuple[int, ...]:
    """Middle channels beside so many input ones: as given, or as a ratio that is rounded."""
    if ("mid" in given.data) == ("expand" in given.data):
        raise given.error("mid", "and 'expand' are two ways to say one thing", "Give one of the two.")
    if "mid" in given.data:
        return _numbers(given, "mid", channels=channels)
    value = given.data["expand"]
    every = value if isinstance(value, list) and value else [value]
    ratios = [Table(given.where, {"expand": one}).number("expand", minimum=0) for one in every]
    divisor = given.integer("mid_divisor", 8, minimum=1)
    return tuple(dict.fromkeys(round_channels(channels * ratio, divisor) for ratio in ratios))
