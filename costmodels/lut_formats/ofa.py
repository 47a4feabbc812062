"""The table that Once-for-All's latency models read: ``<resolution>_lookup_table.yaml``, one mapping of keys to rows.

A key is ``<type>-input:<HxWxC>-output:<shape>``, for blocks followed by
``-expand:<middle channels>-kernel:<k>-stride:<s>-idskip:<0|1>-se:<0|1>-hs:<0|1>``; a row's ``mean`` is the number.
CompOFA reads the same files.
"""

from __future__ import annotations

from ...profiler.errors import UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell
from .additive import AdditiveFormat, Entry
from .card import FormatCard
from .keys import sizes, yaml_text
from .rows import Rows

#: What the reader calls the layers that are not inverted residuals.
_TYPES = {
    "stem": "Conv",
    "final_expand": "Conv_1",
    "pool": "AvgPool2D",
    "feature_mix": "Conv_2",
    "classifier": "Logits",
}


def ofa_key(cell: Cell) -> str:
    """The reader's key of a cell.

    Raises:
        UsageError: the reader has no key for such a cell.
    """
    if cell.spec.block == "inverted_residual":
        spec = cell.spec
        flags = [spec.adds(cell.input_shape), spec.squeeze > 0, spec.act == "hard_swish"]
        skip, squeeze, swish = (int(flag) for flag in flags)
        return (
            f"expanded_conv-{sizes(cell)}-expand:{spec.mid}-kernel:{spec.kernel}-stride:{spec.stride}"
            f"-idskip:{skip}-se:{squeeze}-hs:{swish}"
        )
    if cell.layer not in _TYPES:
        raise UsageError(
            f"the format 'ofa' has no key for layer '{cell.layer}' ({cell.spec.block})",
            remedy="It holds the space ofa-mobilenetv3; write others as 'native'.",
        )
    return f"{_TYPES[cell.layer]}-{sizes(cell)}"


class OfaFormat(AdditiveFormat):
    """Once-for-All, MobileNetV3 variant."""

    name = "ofa"
    card = FormatCard(
        title="Once-for-All and CompOFA, MobileNetV3 variant",
        reader="ofa.nas.efficiency_predictor.MBv3LatencyTable, LatencyEstimator",
        spaces=("ofa-mobilenetv3",),
        offset_in="classifier",
        needs=("pyyaml",),
        note="The reader calls yaml.load without a Loader: it needs PyYAML 5.3.1.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """The name that the reader builds from the image size."""
        return f"{space.resolution}_lookup_table.yaml"

    def entries(self, space: Space) -> list[Entry]:
        """Keys by ``ofa_key``."""
        entries = [(ofa_key(cell), cell) for cell in space.measurable]
        if len({cell.layer for cell in space.fixed} & set(_TYPES)) < len(_TYPES):
            raise self.refuse(space)
        return entries

    def render(self, values: dict[str, float], rows: Rows) -> str:
        """One mapping."""
        return yaml_text(counted(values, self.entries(rows.space), rows), self.name)


def counted(values: dict[str, float], entries: list[Entry], rows: Rows) -> dict[str, dict[str, float | int]]:
    """``mean`` and, for measured rows, ``count``; ``std`` is left out, since the table holds none."""
    made: dict[str, dict[str, float | int]] = {}
    for key, cell in entries:
        made[key] = {"mean": values[key]}
        if visits := rows.lut.query(cell.key).n:
            made[key]["count"] = visits
    return made
