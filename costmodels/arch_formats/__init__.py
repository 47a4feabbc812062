"""The formats in which a row is a whole architecture: built-in ones and those of entry points (``GROUP``).

A LUT format holds one number for each cell; these hold one for each network, in the order of their reader. A format is
an object with three members (``ArchFormat``); an entry point names it, or a class that makes it without arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...profiler.errors import UsageError
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
_BUILT_IN: dict[str, ArchFormat] = {made.name: made for made in _MADE}


def arch_format_names() -> list[str]:
    """Names of all formats. No plugin is imported for it."""
    return sorted({*_BUILT_IN, *_plugins()})


def arch_format(name: str) -> ArchFormat:
    """The format with this name; a built-in one wins over a plugin.

    Raises:
        UsageError: there is none, or the plugin cannot be imported or is no format.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    plugin = _plugins().get(name)
    if plugin is None:
        names = arch_format_names()
        near = get_close_matches(name, names, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"there is no format {name!r} for whole architectures", remedy=f"{hint}Formats: {', '.join(names)}."
        )
    try:
        loaded = plugin.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"format {name!r} ({plugin.value}) cannot be imported: {error}") from error
    made = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(made, ArchFormat):
        raise UsageError(f"format {name!r} ({plugin.value}) has not the members name, card and write")
    return made


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
