"""EfficientTDNN's YAML: five sections, a number for each setting of a layer's parameters in alphabetical order."""

from __future__ import annotations

from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .keys import yaml_text
from .rows import Rows

#: The reader's sections, by the layers of the space.
_SECTIONS = {"layer1": "layer1", "blocks": "blocks", "catconv": "catconv", "pool": "pool", "embed": "embed"}


class EfficientTdnnFormat(AdditiveFormat):
    """mechanicalsea/sugar, EfficientTDNN."""

    name = "efficienttdnn"
    card = FormatCard(
        title="EfficientTDNN",
        reader="sugar/models/dynamictdnn.py TDNNLatency",
        spaces=("efficienttdnn",),
        needs=("pyyaml",),
        offset_in="embed",
        note="23,590 numbers, most of which a predictor gives. The reader does not add the concatenation of the "
        "blocks; the published tables are of 300 frames, batch 1 on a CPU and 64 on a GPU.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Any name will do: it is an argument of the reader."""
        return "efficienttdnn_latency.yaml"

    def entries(self, space: Space) -> list[Entry]:
        """``<section>/<parameters>``."""
        if space.name not in self.card.spaces:
            raise self.refuse(space)
        return [
            (f"{_SECTIONS[cell.layer]}/{_parameters(cell)}", cell)
            for cell in space.measurable
            if cell.layer in _SECTIONS
        ]

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """Floats are written with a point, so that no exponent is taken for text."""
        table: dict[str, dict[str, float]] = {section: {} for section in _SECTIONS.values()}
        for name, value in values.items():
            section, parameters = name.split("/")
            table[section][parameters] = value
        return yaml_text(table, self.name)


def _parameters(cell: Cell) -> str:
    channels, out, spec = cell.input_shape[1], cell.output_shape[1], cell.spec
    if cell.layer == "layer1":
        return f"(in_channels={channels}, kernel_size={spec.kernel}, out_channels={out})"
    if cell.layer == "blocks":
        return f"(channels={channels}, kernel_size={spec.kernel}, mid_channels={spec.mid})"
    if cell.layer == "catconv":
        return f"(in_channels={channels}, out_channels={out})"
    if cell.layer == "pool":
        return f"(in_dim={channels})"
    return f"(in_features={channels}, out_features={out})"
