"""What people want to know of a format before they choose it: who reads it, what it holds, what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["latency", "energy", "memory"]
#: How the numbers of one unit are written in another: factors on ms, mJ and bytes.
UNITS = {"ms": 1.0, "us": 1000.0, "s": 0.001, "mJ": 1.0, "bytes": 1.0}


@dataclass(frozen=True)
class FormatCard:
    """A format in a row of ``edgecost lut formats``.

    Attributes:
        title: whose code reads it.
        reader: the function or class that does, as its authors name it.
        spaces: names of the spaces that it can hold; empty for any.
        units: of each metric that it can hold; a metric that is not here is refused.
        offset_in: the layer, of which every network has exactly one cell, that the constant of the correction is folded
            into; empty where the reader adds no such row, so that only the side file can say the constant.
        needs: packages beside edgecost's own, as pip names them.
        note: what a user of the reader must know; empty for nothing.
    """

    title: str
    reader: str
    spaces: tuple[str, ...] = ()
    units: tuple[tuple[Metric, str], ...] = (("latency", "ms"), ("energy", "mJ"))
    offset_in: str = ""
    needs: tuple[str, ...] = ()
    note: str = ""

    def unit(self, metric: Metric) -> str | None:
        """Of a metric; None where the format cannot hold it."""
        return dict(self.units).get(metric)
