"""Read a grid from TOML: tables of cells, each the product of what its fields list.

A field is one value, a list, or a range ``{ from = 8, to = 64, step = 8 }``; that of ``mid`` may end at a multiple of
the input channels: ``{ from = 8, to_expand = 8, step = 8 }``. Docs: ``docs/how-to/fill-a-table-of-millions.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from ...profiler.errors import UsageError
from ..spaces.block_reader import ACTIVATIONS
from ..spaces.cell import round_channels
from ..spaces.table import Table, Toml
from .cells import BLOCKS, COLUMNS, Box, Grid

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SPATIAL = ["resolution", "channels"]
_CONV = [*_SPATIAL, "out", "kernel", "stride", "act"]
#: Fields by block.
_FIELDS: Mapping[str, Sequence[str]] = {
    "conv": _CONV,
    "inverted_residual": [
        *_CONV, "mid", "expand", "mid_divisor", "groups", "squeeze", "squeeze_divisor", "expands", "shortcut",
    ],
    "global_pool": _SPATIAL,
    "linear": ["channels", "out"],
    "pooled_linear": [*_SPATIAL, "out"],
}  # fmt: skip
#: Axes in the order of enumeration, the slowest first. Cells that follow each other then share most of their kernels.
_ORDER = ("resolution", "stride", "kernel", "act", "groups", "squeeze", "mid", "out")
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
    rows = table.tables("cells")
    boxes: list[Box] = []
    for number, row in enumerate(rows, 1):
        block = Table(f"{file}: cells {number}", row).one_of("block", BLOCKS)
        fields = Table(f"{file}: cells {number} ({block})", row, ["block", *_FIELDS[block]])
        boxes += _boxes(fields, block)
    grid = Grid(table.text("name"), tuple(box for box in boxes if box.size))
    if not 0 < grid.size <= _CELLS_MAX:
        raise table.error("cells", f"makes {grid.size:,} cells", f"The least is 1, the most {_CELLS_MAX:,}.")
    return grid


def _boxes(fields: Table, block: str) -> Iterator[Box]:
    """One for each number of input channels, on which the middle ones may depend."""
    known = set(_FIELDS[block])
    axes: dict[str, tuple[int, ...]] = {
        "resolution": _numbers(fields, "resolution") if "resolution" in known else (1,),
        "stride": _numbers(fields, "stride", 1),
        "kernel": _kernels(fields),
        "act": _acts(fields),
        "groups": _numbers(fields, "groups", 1),
        "squeeze": (0,),
    }
    ratios = tuple(dict.fromkeys(fields.numbers("squeeze", [0.0]))) if _is_list(fields, "squeeze") else _one(fields)
    axes["squeeze"] = tuple(range(len(ratios)))
    expands, shortcut = fields.flag("expands", True), fields.flag("shortcut", True)
    for channels in _numbers(fields, "channels"):
        axes["mid"] = _mids(fields, channels) if "mid" in known and expands else (channels if "mid" in known else 0,)
        axes["out"] = _numbers(fields, "out") if "out" in known else (channels,)
        _check_groups(fields, axes, channels, expands)
        fixed = {"block": BLOCKS.index(block), "channels": channels, "expands": expands, "shortcut": shortcut}
        assert {*fixed, *axes} == set(COLUMNS)
        yield Box(
            axes=tuple((name, axes[name]) for name in _ORDER),
            fixed=tuple((name, int(value)) for name, value in fixed.items()),
            squeezes=ratios,
            squeeze_divisor=fields.integer("squeeze_divisor", 8, minimum=1),
        )


def _is_list(fields: Table, field: str) -> bool:
    return isinstance(fields.data.get(field), list)


def _one(fields: Table) -> tuple[float, ...]:
    return (fields.number("squeeze", 0.0, minimum=0),)


def _numbers(fields: Table, field: str, default: int | None = None) -> tuple[int, ...]:
    """Whole numbers from 1 on: one, a list or a range; each once, in the order given."""
    value = fields.data.get(field)
    if isinstance(value, dict):
        steps = fields.sub(field, ["from", "to", "step"])
        return _range(steps, steps.integer("to", minimum=1))
    given = value if isinstance(value, list) and value else [fields.integer(field, default, minimum=1)]
    one_by_one = [Table(fields.where, {field: one}).integer(field, minimum=1) for one in given]
    return tuple(dict.fromkeys(one_by_one))


def _range(steps: Table, last: int) -> tuple[int, ...]:
    return tuple(range(steps.integer("from", minimum=1), last + 1, steps.integer("step", 1, minimum=1)))


def _kernels(fields: Table) -> tuple[int, ...]:
    found = _numbers(fields, "kernel", 1)
    for kernel in found:
        if kernel % 2 == 0:
            raise fields.error("kernel", f"{kernel} is even", "Same padding is defined for odd kernels.")
    return found


def _acts(fields: Table) -> tuple[int, ...]:
    value = fields.data.get("act", "")
    names = value if isinstance(value, list) and value else [value]
    found = [Table(fields.where, {"act": name}).one_of("act", ACTIVATIONS) for name in names]
    return tuple(dict.fromkeys(ACTIVATIONS.index(name) for name in found))


def _mids(fields: Table, channels: int) -> tuple[int, ...]:
    """Middle channels beside so many input ones: as given, or as a ratio that is rounded."""
    if ("mid" in fields.data) == ("expand" in fields.data):
        raise fields.error("mid", "and 'expand' are two ways to say one thing", "Give one of the two.")
    value = fields.data.get("mid")
    if isinstance(value, dict) and "to_expand" in value:
        steps = fields.sub("mid", ["from", "to_expand", "step"])
        return _range(steps, int(channels * steps.number("to_expand", minimum=0)))
    if value is not None:
        return _numbers(fields, "mid")
    ratios = fields.numbers("expand") if _is_list(fields, "expand") else [fields.number("expand", minimum=0)]
    divisor = fields.integer("mid_divisor", 8, minimum=1)
    return tuple(dict.fromkeys(round_channels(channels * ratio, divisor) for ratio in ratios))


def _check_groups(fields: Table, axes: Mapping[str, tuple[int, ...]], channels: int, expands: bool) -> None:
    for groups in axes["groups"]:
        sizes = (channels, *axes["mid"], *axes["out"])
        if groups > 1 and (not expands or any(size % groups for size in sizes)):
            raise fields.error(
                "groups", f"{groups} does not divide all channels", "Give channels, mid and out that are multiples."
            )
