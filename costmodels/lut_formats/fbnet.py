"""The two text tables of FBNet's re-implementations: a row for each of 22 layers, a column for each of 9 candidates.

Both readers split lines at single blanks and fail at a trailing blank or an empty last line. Neither adds the stem and
the head: what those cost stands in the side file.
"""

from __future__ import annotations

from decimal import Decimal

from ..lut import Lut
from ..space import Space
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .rows import Rows

_NAMES = ("ir_k3_e1", "ir_k3_s2", "ir_k3_e3", "ir_k3_e6", "ir_k5_e1", "ir_k5_s2", "ir_k5_e3", "ir_k5_e6", "skip")
_LAYERS = 22


class FbnetFormat(AdditiveFormat):
    """AnnaAraslanova/FBNet: a header with the candidates' names, then 22 rows in microseconds."""

    name = "fbnet"
    card = FormatCard(
        title="FBNet by AnnaAraslanova",
        reader="supernet_functions/lookup_table_builder.py LookUpTable",
        spaces=("fbnet", "fbnet-cifar"),
        units=(("latency", "us"), ("energy", "mJ")),
        note="Its path is set in CONFIG_SUPERNET['lookup_table']; stem and head are not added by the reader.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """The reader's default."""
        return "lookup_table.txt"

    def entries(self, space: Space) -> list[Entry]:
        """``<layer>/<candidate>``, row by row."""
        if len(space.positions) != _LAYERS or any(position.names != _NAMES for position in space.positions):
            raise self.refuse(space)
        return [
            (f"{place}/{name}", cell)
            for place, position in enumerate(space.positions)
            for name, cell in zip(position.names, position.cells, strict=True)
        ]

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """No blank at a line's end and no line after the last."""
        return "\n".join([" ".join(_NAMES), *_lines(values, rows.space)])


class FbnetPytorchFormat(FbnetFormat):
    """JunrQ/NAS (fbnet-pytorch): the same rows in milliseconds, without a header.

    A block that changes the shape has no identity column: the reader puts the mean of the others' identities there and
    never lets such a block be skipped. So a skip by a convolution is not in this table.
    """

    name = "fbnet-pytorch"
    card = FormatCard(
        title="FBNet by JunrQ (fbnet-pytorch)",
        reader="fbnet-pytorch/model.py FBNet(speed_f=...)",
        spaces=("fbnet", "fbnet-cifar"),
        note="Rows of 8 where a layer begins a stage, of 9 elsewhere; stem and head are not added by the reader.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        return "speed.txt"

    def entries(self, space: Space) -> list[Entry]:
        """Without the skips that are convolutions, and without those of a stage's first layer."""
        first = {str(place) for place, position in enumerate(space.positions) if position.offset == 0}
        return [
            (name, cell)
            for name, cell in super().entries(space)
            if not (name.endswith("/skip") and (name.split("/")[0] in first or not cell.absent))
        ]

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """Numbers only."""
        return "\n".join(_lines(values, rows.space))


def _lines(values: dict[str, float], space: Space) -> list[str]:
    lines = []
    for place in range(len(space.positions)):
        names = [f"{place}/{name}" for name in _NAMES]
        lines.append(" ".join(fixed_point(values[name]) for name in names if name in values))
    return lines


def fixed_point(value: float) -> str:
    """The shortest text that reads back to the same number, without an exponent: some readers know none."""
    return format(Decimal(repr(value)), "f")
