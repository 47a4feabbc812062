"""EfficientTDNN's other table, of its elastic ResNet: three numbers, and for each of 16 blocks one for each candidate.

A candidate is ``<ratio>-<kernel>``, the ratio with two decimals.
"""

from __future__ import annotations

from ..lut import Lut
from ..space import Space
from ..spaces.coding import Position
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .keys import yaml_text
from .rows import Rows

#: What the reader always adds, by the layers of the space and in the order that it writes them.
_FIXED = ("conv", "pool", "fc")


class ElasticResNetFormat(AdditiveFormat):
    """mechanicalsea/sugar, the elastic ResNet beside EfficientTDNN."""

    name = "elastic-resnet"
    card = FormatCard(
        title="EfficientTDNN's elastic ResNet",
        reader="sugar/models/elasticresnet.py ResNetLatency",
        spaces=("elastic-resnet",),
        needs=("pyyaml",),
        offset_in="fc",
        note="147 numbers. The reader's own measurements are of 400 frames, batch 1 on a CPU and 64 on a GPU.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        _, _, bands, frames = space.input_shape
        return f"elastic_resnet_latency_{bands}_{frames}.yaml"

    def entries(self, space: Space) -> list[Entry]:
        """``<layer>``, and ``<number of the block>/<ratio>-<kernel>``."""
        if space.name not in self.card.spaces:
            raise self.refuse(space)
        fixed = {cell.layer: cell for cell in space.fixed}
        entries = [(layer, fixed[layer]) for layer in _FIXED]
        for place, position in enumerate(space.positions):
            names = [f"{place}/{candidate}" for candidate in _candidates(position)]
            entries += zip(names, position.cells, strict=True)
        return entries

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """One mapping, in which the blocks are a list."""
        blocks: list[dict[str, float]] = [{} for _ in rows.space.positions]
        for name, value in values.items():
            if name not in _FIXED:
                place, candidate = name.split("/")
                blocks[int(place)][candidate] = value
        conv, pool, fc = (values[layer] for layer in _FIXED)
        return yaml_text({"conv": conv, "blocks": blocks, "pool": pool, "fc": fc}, self.name)


def _candidates(position: Position) -> list[str]:
    ratios, kernels = position.values("expand") or [], position.values("kernel") or []
    return [f"{float(ratio):.2f}-{kernel}" for ratio, kernel in zip(ratios, kernels, strict=True)]
