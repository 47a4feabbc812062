"""The formats in which a row is a whole architecture: built-in ones and those of entry points (``GROUP``).

A LUT format holds one number for each cell; these hold one for each network, in the order of their reader. A format is
an object with three members (``ArchFormat``); an entry point names it, or a class that makes it without arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

from ..format_registry import FormatRegistry
from ..lut_formats.card import FormatCard
from .cell_benchmarks import HwNasBenchFormat, NaslibFormat, NatsBenchFormat
from .costs import About, Costs
from .dynas import DynasFormat
from .networks import Networks
from .nni_benchmark import NniFormat
from .samples import EagleFormat, EagleRunsFormat, NnablaFormat, SyneTuneFormat
from .torch_lists import HelpFormat, NasflatFormat

GROUP = "edgecost.arch_formats"


@runtime_checkable
class ArchFormat(Protocol):
    """Writes what networks cost the way somebody's search code reads it."""

    @property
    def name(self) -> str:
        """What people type."""

    @property
    def card(self) -> FormatCard:
        """Who reads it, what it holds, what it needs."""

    def write(self, networks: Networks, costs: Sequence[Costs], folder: Path, about: About) -> list[Path]:
        """Write the files below a folder; returns them, the side file last.

        Args:
            networks: in the order of the reader.
            costs: each metric of all networks, in ms, mJ or bytes; the writer converts.

        Raises:
            GateError: networks without a number, where the reader needs one for each; nothing is written.
            UsageError: the reader cannot hold this space, this list of networks or this metric.
            MissingPackage: a package that writes the file is not installed.
        """


_MADE: tuple[ArchFormat, ...] = (
    HelpFormat(),
    NasflatFormat(),
    EagleFormat(),
    EagleRunsFormat(),
    DynasFormat(),
    SyneTuneFormat(),
    NatsBenchFormat(),
    NaslibFormat(),
    NniFormat(),
    HwNasBenchFormat(),
    NnablaFormat(),
)


def _is_format(made: object) -> TypeGuard[ArchFormat]:
    return isinstance(made, ArchFormat)


_REGISTRY = FormatRegistry(GROUP, _MADE, _is_format, "name, card and write")


def arch_format_names() -> list[str]:
    """Names of all formats. No plugin is imported for it."""
    return _REGISTRY.names()


def arch_format(name: str) -> ArchFormat:
    """The format with this name; a built-in one wins over a plugin.

    Raises:
        UsageError: there is none, or the plugin cannot be imported or is no format.
    """
    return _REGISTRY.find(name)
