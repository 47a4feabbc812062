"""The table that Once-for-All's latency models read: ``<resolution>_lookup_table.yaml``, one mapping of keys to rows.

A key is ``<type>-input:<HxWxC>-output:<shape>``, for blocks followed by
``-expand:<middle channels>-kernel:<k>-stride:<s>-idskip:<0|1>-se:<0|1>-hs:<0|1>``; a row's ``mean`` is milliseconds.
The reader adds rows and knows no factor, so the factor is applied to every row here. What the rows cannot say stands in
a side file, ``<resolution>_lookup_table.edgecost.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ...profiler.errors import MissingPackage, UsageError
from ...profiler.records import Json
from ..files import write_atomically
from ..lut import Lut
from ..space import Space
from ..spaces.cell import Cell, Shape

#: What the reader calls the layers that are not inverted residuals.
_TYPES = {
    "stem": "Conv",
    "final_expand": "Conv_1",
    "pool": "AvgPool2D",
    "feature_mix": "Conv_2",
    "classifier": "Logits",
}
SIDE_FORMAT = "edgecost-lut-side"


def ofa_key(cell: Cell) -> str:
    """The reader's key of a cell.

    Raises:
        UsageError: the reader has no key for such a cell.
    """
    sizes = f"input:{_joined(cell.input_shape)}-output:{_joined(cell.output_shape)}"
    if cell.spec.block == "inverted_residual":
        spec = cell.spec
        flags = [spec.adds(cell.input_shape), spec.squeeze > 0, spec.act == "hard_swish"]
        skip, squeeze, swish = (int(flag) for flag in flags)
        return (
            f"expanded_conv-{sizes}-expand:{spec.mid}-kernel:{spec.kernel}-stride:{spec.stride}"
            f"-idskip:{skip}-se:{squeeze}-hs:{swish}"
        )
    if cell.layer not in _TYPES:
        raise UsageError(
            f"the format 'ofa' has no key for layer '{cell.layer}' ({cell.spec.block})",
            remedy="It holds the space ofa-mobilenetv3; write others as 'native'.",
        )
    return f"{_TYPES[cell.layer]}-{sizes}"


class OfaFormat:
    """Once-for-All, MobileNetV3 variant."""

    name = "ofa"

    def filename(self, lut: Lut, space: Space) -> str:
        """The name that the reader builds from the image size."""
        return f"{space.resolution}_lookup_table.yaml"

    def write(self, lut: Lut, space: Space, path: Path) -> list[Path]:
        """Write the table and its side file.

        Raises:
            GateError: the table does not cover the space; nothing is written.
            UsageError: the space is not Once-for-All's.
            MissingPackage: PyYAML is not installed.
        """
        keys = {ofa_key(cell): cell.key for cell in space.measurable}
        if len(keys) < len(space.measurable) or len({cell.layer for cell in space.fixed} & set(_TYPES)) < len(_TYPES):
            raise UsageError(f"space {space.name} is not what the format 'ofa' holds", remedy="Write it as 'native'.")
        lut.require(space)
        text = _yaml({key: _row(lut, own) for key, own in keys.items()})
        target = path / self.filename(lut, space) if path.is_dir() else path
        written = write_atomically(target, text)
        side = json.dumps(_side(lut, space, keys, written.name, text), indent=1, ensure_ascii=False, allow_nan=False)
        return [written, write_atomically(target.with_suffix(".edgecost.json"), side + "\n")]


def _joined(shape: Shape) -> str:
    """Height, width and channels joined by x; a vector is only its length."""
    return "x".join(str(size) for size in (*shape[2:], shape[1]))


def _row(lut: Lut, key: str) -> dict[str, float | int]:
    """``mean`` in ms and, for measured rows, ``count``; ``std`` is left out, since the table holds none."""
    cell = lut.query(key)
    row: dict[str, float | int] = {"mean": cell.latency_ms * lut.scale}
    if cell.n:
        row["count"] = cell.n
    return row


def _yaml(rows: dict[str, dict[str, float | int]]) -> str:
    """Plain Python numbers through ``safe_dump``, which writes 1.0e-07: YAML 1.1 readers take 1e-07 for a string."""
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage("PyYAML is needed for the format 'ofa'", remedy="pip install pyyaml") from error
    text: str = yaml.safe_dump(rows, sort_keys=False, default_flow_style=False, width=1000)
    return text


def _side(lut: Lut, space: Space, keys: dict[str, str], table: str, text: str) -> dict[str, Json]:
    rows: dict[str, Json] = {}
    for key, own in keys.items():
        cell = lut.query(own)
        rows[key] = {
            "cell": own,
            "n": cell.n,
            "source": cell.source,
            "lo_ms": None if cell.lo_ms is None else cell.lo_ms * lut.scale,
            "hi_ms": None if cell.hi_ms is None else cell.hi_ms * lut.scale,
        }
    return {
        "format": SIDE_FORMAT,
        "schema_version": 1,
        "describes": table,
        "describes_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "metric": "latency",
        "unit": "ms",
        "space": space.name,
        "resolution": space.resolution,
        "width": space.width,
        "scale": lut.scale,
        "scale_fitted_on": lut.scale_fitted_on,
        "offset_policy": "every row and interval is multiplied by scale; no constant is folded into a fixed row",
        "lut_sha256": lut.content_sha256,
        "provenance": dict(lut.provenance),
        "rows": rows,
    }
