"""The FBNet part of HW-NAS-Bench's pickle: for each of eight device metrics, a dictionary from block to number.

The reader knows eight names of metrics and no other, and fails where one is missing; so a new device takes the name of
one of theirs, and the rest are NaN, which the reader accepts. The file is written for that reader, never loaded here.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping

from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .rows import Rows

_METRICS = (
    "edgegpu_latency", "edgegpu_energy", "raspi4_latency", "pixel3_latency", "eyeriss_latency", "eyeriss_energy",
    "fpga_latency", "fpga_energy",
)  # fmt: skip
#: Where a new device's numbers stand: the one name that has both a latency and an energy of a whole device.
_SLOTS: Mapping[str, str] = {"latency": "edgegpu_latency", "energy": "edgegpu_energy"}
#: A fixed protocol: equal tables are equal files on every Python.
_PROTOCOL = 4


class HwNasBenchFormat(AdditiveFormat):
    """GATECH-EIC/HW-NAS-Bench, space fbnet: the rows of one of its two data sets."""

    name = "hw-nas-bench"
    card = FormatCard(
        title="HW-NAS-Bench, FBNet on CIFAR-100 or ImageNet",
        reader="hw_nas_bench_api.HWNASBenchAPI(file, search_space='fbnet')",
        spaces=("fbnet-cifar", "fbnet-1984"),
        offset_in="classifier",
        note="Numbers stand under edgegpu_latency or edgegpu_energy, the other metrics are NaN. "
        "Dataset 'cifar100' is space fbnet-cifar at 32 pixels, 'ImageNet' fbnet-1984 at 224; no row is in both.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        return "HW-NAS-Bench-edgecost.pickle"

    def entries(self, space: Space) -> list[Entry]:
        """Identities have a row too, of 0: the reader adds one for each skip."""
        if space.name not in self.card.spaces:
            raise self.refuse(space)
        cells = {cell.key: cell for cell in space.fixed}
        entries = [(self._fixed_key(cell, space), cell) for cell in cells.values()]
        seen = {name for name, _ in entries}
        for position in space.positions:
            for name, cell in zip(position.names, position.cells, strict=True):
                key = _skip_key(cell) if name == "skip" else _block_key(cell)
                if key not in seen:
                    seen.add(key)
                    entries.append((key, cell))
        return entries

    def render(self, values: dict[str, float], rows: Rows) -> bytes:
        """A pickle of dictionaries, text and floats."""
        slot = _SLOTS[rows.metric]
        unknown = dict.fromkeys(values, math.nan)
        table = {metric: values if metric == slot else dict(unknown) for metric in _METRICS}
        return pickle.dumps({"fbnet": table}, protocol=_PROTOCOL)

    def _fixed_key(self, cell: Cell, space: Space) -> str:
        spec = cell.spec
        if spec.block == "conv":
            return f"ConvNorm_{_sizes(cell)}_kernel{spec.kernel}_stride{spec.stride}_group1"
        if spec.block == "global_pool":
            return f"AvgP_{_sizes(cell)}_kernel{cell.input_shape[2]}_stride1"
        if spec.block == "linear":
            return f"FC_Cin{cell.input_shape[1]}_Cout{spec.out}"
        raise self.refuse(space)


def _block_key(cell: Cell) -> str:
    spec = cell.spec
    return f"ConvBlock_{_sizes(cell)}_exp{spec.expand:g}_kernel{spec.kernel}_stride{spec.stride}_group{spec.groups}"


def _skip_key(cell: Cell) -> str:
    return f"Skip_{_sizes(cell)}_stride{1 if cell.absent else cell.spec.stride}"


def _sizes(cell: Cell) -> str:
    _, channels, high, wide = cell.input_shape
    return f"H{high}_W{wide}_Cin{channels}_Cout{cell.output_shape[1]}"
