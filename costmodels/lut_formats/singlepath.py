"""The JSON table of Single-Path NAS: 22 blocks, of each the four candidates in milliseconds.

The reader begins with 19.5999 ms, what stem and head take on its authors' phone, and adds 0.7 ms for a skip: both are
written into its code and cannot be said here. It derives the smallest candidate by a ratio. Blocks 0 and 21 are read
and not used; nothing is chosen there, so that all four are the one block.
"""

from __future__ import annotations

import json

from ..lut import Lut
from ..space import Space
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .rows import Rows

_NAMES = ("kernel3-expand3", "kernel3-expand6", "kernel5-expand3", "kernel5-expand6")
_ENDS = ("first", "last")


class SinglePathFormat(AdditiveFormat):
    """dstamoulis/single-path-nas."""

    name = "singlepath-nas"
    card = FormatCard(
        title="Single-Path NAS",
        reader="nas-search/singlepath_supernet.py SinglePathSuperNet",
        spaces=("singlepath-nas",),
        note="The reader adds 19.5999 ms for stem and head and 0.7 ms for a skip, whatever the device.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """The reader's only name, in the folder it runs in."""
        return "pixel1_runtime_model.json"

    def entries(self, space: Space) -> list[Entry]:
        """``<block>/<candidate>``; a skip has no entry."""
        ends = [next((cell for cell in space.fixed if cell.layer == layer), None) for layer in _ENDS]
        fits = len(space.positions) == 20 and all(position.names[:4] == _NAMES for position in space.positions)
        first, last = ends
        if not fits or first is None or last is None:
            raise self.refuse(space)
        blocks = [[first] * 4, *([*position.cells[:4]] for position in space.positions), [last] * 4]
        return [(f"{block}/{choice}", cell) for block, cells in enumerate(blocks) for choice, cell in enumerate(cells)]

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """Dictionaries of dictionaries with the numbers of blocks and candidates as text."""
        table: dict[str, dict[str, float]] = {}
        for name, value in values.items():
            block, choice = name.split("/")
            table.setdefault(block, {})[choice] = value
        return json.dumps(table, indent=1) + "\n"
