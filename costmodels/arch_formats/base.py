"""What the formats have in common: check the list of networks, put the numbers in the reader's unit, write, and say so.

A format says which spaces and how many networks its reader expects (``counts``) and makes the content of its files.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from ...profiler.errors import GateError, UsageError
from ..files import write_atomically
from ..lut_formats.card import FormatCard
from .costs import About, Costs
from .networks import NASBENCH201, Networks, benchmark_networks
from .side import write_side

#: Of NAS-Bench-201.
CELLS = 15625


class ArchFileFormat(ABC):
    """Subclass it: ``name``, ``card`` and ``render``.

    Attributes:
        counts: networks that the reader expects of a space; any number of a space that is not here.
        benchmark_order: whether it must be NAS-Bench-201's own order, since the reader asks by index.
        distinct: whether the reader cannot hold a network twice.
        holds_unknown: whether NaN may stand in the file.
        many_metrics: whether one file holds several metrics.
    """

    name: ClassVar[str]
    card: ClassVar[FormatCard]
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({})
    benchmark_order: ClassVar[bool] = False
    distinct: ClassVar[bool] = False
    holds_unknown: ClassVar[bool] = False
    many_metrics: ClassVar[bool] = False

    @abstractmethod
    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """The files by name, below the folder that the user names; ``costs`` are in the reader's units.

        Raises:
            UsageError: the reader cannot hold these networks.
            MissingPackage: a package that writes the file is not installed.
        """

    def write(self, networks: Networks, costs: Sequence[Costs], folder: Path, about: About) -> list[Path]:
        """See ``ArchFormat``."""
        self._check_metrics(costs)
        self._check_networks(networks)
        for one in costs:
            self._check_known(one, networks)
        converted = [one.in_unit(self.card.unit(one.metric) or one.unit) for one in costs]
        made = self.render(networks, converted, about)
        written = [write_atomically(folder / name, content) for name, content in made.items()]
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
        return [*written, write_side(folder, self.name, hashes, networks, converted, about)]

    def _check_metrics(self, costs: Sequence[Costs]) -> None:
        held = [metric for metric, _ in self.card.units]
        for one in costs:
            if one.metric not in held:
                raise UsageError(
                    f"the format '{self.name}' cannot hold {one.metric}", remedy=f"It holds: {', '.join(held)}."
                )
        if not costs or (len(costs) > 1 and not self.many_metrics) or len({c.metric for c in costs}) < len(costs):
            many = "each metric once" if self.many_metrics else "one metric"
            raise UsageError(f"a file of the format '{self.name}' holds {many}, {len(costs)} were given")

    def _check_networks(self, networks: Networks) -> None:
        if self.card.spaces and networks.space not in self.card.spaces:
            raise UsageError(
                f"space {networks.space} is not what the format '{self.name}' holds",
                remedy=f"It holds: {', '.join(self.card.spaces)}.",
            )
        wanted = self.counts.get(networks.space)
        if wanted is not None and len(networks) != wanted:
            raise UsageError(
                f"{self.name} reads {wanted} networks of {networks.space} by their index; the order names"
                f" {len(networks)}",
                remedy="give the reader's whole list, in its order: --archs FILE",
            )
        if self.distinct or networks.space == NASBENCH201:
            _check_distinct(networks)
        if self.benchmark_order:
            _check_benchmark_order(networks)

    def _check_known(self, costs: Costs, networks: Networks) -> None:
        if len(costs.values) != len(networks):
            raise UsageError(f"{len(costs.values)} numbers for {len(networks)} networks")
        unknown = np.flatnonzero(np.isnan(costs.values))
        if len(unknown) and not self.holds_unknown:
            raise GateError(
                f"the {costs.metric} of {len(unknown)} networks is not known, first {int(unknown[0]) + 1}:"
                f" {networks.native[int(unknown[0])]}; the reader of '{self.name}' needs a number for each",
                remedy="price them, leave them out of the list, or say what shall stand there: --unknown VALUE",
            )


def _check_distinct(networks: Networks) -> None:
    seen: dict[tuple[int, ...], int] = {}
    for number, key in enumerate(networks.keys, 1):
        if key in seen:
            raise UsageError(
                f"architecture {number} of {networks.origin} is the same as {seen[key]}: {networks.native[number - 1]}",
                remedy="name each network once",
            )
        seen[key] = number


def _check_benchmark_order(networks: Networks) -> None:
    differs = np.flatnonzero((networks.choices != benchmark_networks().choices).any(axis=1))
    if len(differs):
        row = int(differs[0])
        raise UsageError(
            f"architecture {row + 1} of {networks.origin} is {networks.native[row]}, which is not what NAS-Bench-201"
            " numbers so",
            remedy="leave --archs out: the benchmark's own order is known",
        )
