"""The YAML table that ProxylessNAS' LatencyEstimator reads, and Once-for-All's for its Proxyless super-net.

A key is ``<type>-input:<HxWxC>-output:<shape>``, for blocks followed by
``-expand:<ratio>-kernel:<k>-stride:<s>-idskip:<0|1>``; a row's ``mean`` is the number. The Zero operation has no row.
The reader's run manager takes 200 ms for any key that it does not find, so that nothing may be missing.
"""

from __future__ import annotations

from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .keys import ratio_key, sizes, yaml_text
from .ofa import counted
from .rows import Rows

#: What the reader calls the layers that are not inverted residuals. Its Logits hold the pooling.
_TYPES = {"stem": "Conv", "head": "Conv_1", "classifier": "Logits"}


class ProxylessFormat(AdditiveFormat):
    """ProxylessNAS at 224 pixels, Once-for-All's Proxyless variant at any size."""

    name = "proxylessnas"
    card = FormatCard(
        title="ProxylessNAS; Once-for-All, Proxyless variant",
        reader="proxylessnas search/utils/latency_estimator.py LatencyEstimator; ofa ProxylessNASLatencyTable",
        spaces=("proxylessnas", "ofa-proxyless"),
        offset_in="classifier",
        needs=("pyyaml",),
        note="Give the reader file://localhost/<path>: of file:///<path> it empties the file.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """Once-for-All builds the name from the image size; ProxylessNAS takes any."""
        return f"{space.resolution}_lookup_table.yaml"

    def entries(self, space: Space) -> list[Entry]:
        """Stem, blocks, head and classifier with its pooling."""
        if {cell.layer for cell in space.fixed if cell.spec.block != "inverted_residual"} != set(_TYPES):
            raise self.refuse(space)
        return [(self._key(cell, space), cell) for cell in space.measurable]

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """One mapping."""
        return yaml_text(counted(values, self.entries(rows.space), rows), self.name)

    def _key(self, cell: Cell, space: Space) -> str:
        if cell.spec.block == "inverted_residual":
            if cell.spec.squeeze or cell.spec.groups > 1:
                raise self.refuse(space)
            return ratio_key(cell)
        if cell.layer not in _TYPES:
            raise self.refuse(space)
        return f"{_TYPES[cell.layer]}-{sizes(cell)}"
