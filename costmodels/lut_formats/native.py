"""edgecost's own JSON form, with intervals, sources and provenance (``lut_schema.json``)."""

from __future__ import annotations

from pathlib import Path

from ..lut import Lut
from ..space import Space
from .card import FormatCard, Metric


class NativeFormat:
    """The table as it is: the correction stands beside the rows and is not applied to them."""

    name = "native"
    card = FormatCard(
        title="edgecost itself",
        reader="edgecost.Lut.load",
        units=(("latency", "ms"), ("energy", "mJ"), ("memory", "bytes")),
        note="All metrics at once, intervals, sources and provenance; the only form that is read back.",
    )

    def filename(self, lut: Lut, space: Space) -> str:
        """``<space>-w<width>-<resolution>.lut.json``."""
        return f"{space.name}-w{space.width:g}-{space.resolution}.lut.json"

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        """Write the table. Raises ``GateError`` when it does not cover the space."""
        lut.require(space)
        return [lut.save(path / self.filename(lut, space) if path.is_dir() else path)]
