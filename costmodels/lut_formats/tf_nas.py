"""TF-NAS's pickle: for each operation at each shape, a number for every count of middle channels.

Below as many middle channels as input channels the source builds one and the same block; its rows are equal. The file
is written for its reader, never loaded here.
"""

from __future__ import annotations

import pickle

from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .rows import Rows

_PROTOCOL = 4
#: Cells that the reader adds as one number, by the layers of the space.
_BASE = ("stem", "first", "final", "pool", "classifier")


class TfNasFormat(AdditiveFormat):
    """AberHu/TF-NAS."""

    name = "tf-nas"
    card = FormatCard(
        title="TF-NAS",
        reader="train_search.get_lookup_latency, models.model_search.MixedOP",
        spaces=("tf-nas",),
        offset_in="classifier",
        note="36,480 numbers, most of which a predictor gives. The published table for GPUs is of batch 32.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        return "latency_edgecost.pkl"

    def entries(self, space: Space) -> list[Entry]:
        """``<operation>/<middle channels>``, and the cells of the base."""
        if space.name not in self.card.spaces:
            raise self.refuse(space)
        fixed = {cell.layer: cell for cell in space.fixed}
        entries = {f"base/{layer}": fixed[layer] for layer in _BASE}
        for position in space.positions:
            for name, cell in zip(position.names, position.cells, strict=True):
                # The candidate says how many middle channels were asked for, the cell how many there are.
                entries[f"{_operation(cell)}/{name.split('-mid')[1]}"] = cell
        return list(entries.items())

    def render(self, values: dict[str, float], rows: Rows) -> bytes:
        """Dictionaries of dictionaries with whole numbers as keys, and plain floats."""
        table: dict[str, float | dict[int, float]] = {
            "base": sum(value for name, value in values.items() if name.startswith("base/"))
        }
        operations: dict[str, dict[int, float]] = {}
        for name, value in values.items():
            operation, mid = name.split("/")
            if operation != "base":
                operations.setdefault(operation, {})[int(mid)] = value
        return pickle.dumps({**table, **operations}, protocol=_PROTOCOL)


def _operation(cell: Cell) -> str:
    spec, (_, channels, side, _) = cell.spec, cell.input_shape
    return (
        f"MBInvertedResBlock_{side}_{channels}_{spec.squeeze}_{cell.output_shape[1]}"
        f"_k{spec.kernel}_s{spec.stride}_{spec.act}"
    )
