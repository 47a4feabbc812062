"""The formats in which a row is one operator at one shape: built-in ones and those of entry points (``GROUP``).

A LUT format holds one number for each cell of a space; these know no space, and are written from a grid of shapes or
from the layers of ONNX files. A format is an object with three members (``OpFormat``); an entry point names it, or a
class that makes it without arguments. Prove a new one by subclassing ``contract.OpFormatContract`` in pytest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

from ..format_registry import FormatRegistry
from ..lut_formats.card import FormatCard
from .densenas import DenseNasFormat
from .haq import HaqFormat
from .mobile_cv import MobileCvFormat
from .netadapt import NetAdaptFormat
from .nn_meter import NnMeterFormat
from .request import Request
from .runtime_lut import RuntimeLutFormat
from .tinynas import TinyNasFormat

GROUP = "edgecost.op_formats"


@runtime_checkable
class OpFormat(Protocol):
    """Writes what operators cost the way somebody's search code reads it."""

    @property
    def name(self) -> str:
        """What people type."""

    @property
    def card(self) -> FormatCard:
        """Who reads it, what it holds, what it needs."""

    def write(self, request: Request, folder: Path) -> list[Path]:
        """Write the files below a folder; returns them, the side file last.

        Raises:
            GateError: rows without a price; they are listed, and nothing is written.
            UsageError: the reader cannot use what is asked for.
        """


_MADE: tuple[OpFormat, ...] = (
    TinyNasFormat(),
    NnMeterFormat(),
    MobileCvFormat(),
    RuntimeLutFormat(),
    NetAdaptFormat(),
    HaqFormat(),
    DenseNasFormat(),
)


def _is_format(made: object) -> TypeGuard[OpFormat]:
    return isinstance(made, OpFormat)


_REGISTRY = FormatRegistry(GROUP, _MADE, _is_format, "name, card and write")


def built_in_op_formats() -> tuple[OpFormat, ...]:
    """Those that edgecost brings, in the order of its documentation."""
    return _MADE


def op_format_names() -> list[str]:
    """Names of all formats. No plugin is imported for it."""
    return _REGISTRY.names()


def op_format(name: str) -> OpFormat:
    """The format with this name; a built-in one wins over a plugin.

    Raises:
        UsageError: there is none, or the plugin cannot be imported or is no format.
    """
    return _REGISTRY.find(name)
