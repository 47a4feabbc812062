"""What networks cost, one number for each, and where the numbers come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...profiler.errors import UsageError
from ...profiler.records import Json
from ..lut_formats.card import UNITS, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Costs:
    """One metric of networks.

    Attributes:
        unit: of all numbers: ms, mJ or bytes as they are made, the reader's once ``in_unit`` was asked.
        values: float64 (networks,), NaN where it is not known.
        lo, hi: the interval of each; None where there is none.
        runs: the repeated measurements of each network; empty where the numbers were not measured one by one.
        filled: how many unknown ones got a stand-in.
    """

    metric: Metric
    unit: str
    values: Floats
    lo: Floats | None = None
    hi: Floats | None = None
    runs: tuple[tuple[float, ...], ...] = ()
    filled: int = 0

    def __post_init__(self) -> None:
        bad = ~np.isnan(self.values) & ~(np.isfinite(self.values) & (self.values > 0))
        if bad.any():
            row = int(np.argmax(bad))
            raise UsageError(
                f"the {self.metric} of network {row + 1} is {self.values[row]:g} {self.unit}, not positive"
            )
        for other in (self.lo, self.hi, self.runs or None):
            if other is not None and len(other) != len(self.values):
                raise UsageError(f"{len(other)} intervals or lists of runs for {len(self.values)} networks")

        if self.lo is not None and self.hi is not None:
            outside = np.flatnonzero((self.lo > self.values) | (self.values > self.hi))
            if len(outside):
                raise UsageError(f"the interval of network {int(outside[0]) + 1} does not hold its {self.metric}")

    def in_unit(self, unit: str) -> Costs:
        """The same in another unit of the metric."""
        factor = UNITS[unit] / UNITS[self.unit]
        lo, hi = (None if bound is None else bound * factor for bound in (self.lo, self.hi))
        runs = tuple(tuple(run * factor for run in runs) for runs in self.runs)
        return replace(self, unit=unit, values=self.values * factor, lo=lo, hi=hi, runs=runs)

    def with_stand_in(self, value: float) -> Costs:
        """``value`` where nothing is known."""
        unknown = np.isnan(self.values)
        return replace(self, values=np.where(unknown, value, self.values), filled=int(unknown.sum()))

    @property
    def floats(self) -> list[float]:
        """Plain floats: NumPy's become tags or classes in many files."""
        return [float(value) for value in self.values]


@dataclass(frozen=True)
class About:
    """Where the numbers of a file come from; None is unknown.

    Attributes:
        device: what the device is called in the files.
        source: what made the numbers, for people.
        correction: from sums of cells to whole networks, as it was applied.
        provenance: everything else that the source says of itself.
    """

    device: str
    source: str
    device_description: str | None = None
    precision: str | None = None
    batch: int | None = None
    created: str | None = None
    correction: Json = None
    provenance: Mapping[str, Json] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The device's name as part of a file's."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", self.device).strip("._") or "device"
