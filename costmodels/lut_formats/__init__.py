"""The formats a lookup table can be written in: built-in ones and those of the ``edgecost.lut_formats`` entry points.

A format is an object with four members (``LutFormat``); an entry point names it, or a class that makes it without
arguments. Prove a new one by subclassing ``contract.LutFormatContract`` in pytest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

from ..format_registry import FormatRegistry
from ..lut import Lut
from ..space import Space
from .apq import ApqFormat
from .card import FormatCard, Metric
from .efficienttdnn import EfficientTdnnFormat
from .elastic_resnet import ElasticResNetFormat
from .fbnet import FbnetFormat, FbnetPytorchFormat
from .flat import CsvFormat, JsonFormat, NumpyFormat, ParquetFormat, SqliteFormat
from .hat import HatFormat
from .hw_nas_bench import HwNasBenchFormat
from .native import NativeFormat
from .ofa import OfaFormat
from .proxylessnas import ProxylessFormat
from .singlepath import SinglePathFormat
from .tf_nas import TfNasFormat

GROUP = "edgecost.lut_formats"


@runtime_checkable
class LutFormat(Protocol):
    """Writes a table the way somebody's search code reads it."""

    @property
    def name(self) -> str:
        """What people type."""

    @property
    def card(self) -> FormatCard:
        """Who reads it, what it holds, what it needs."""

    def filename(self, lut: Lut, space: Space) -> str:
        """The name of the file that the reader expects, without folder."""

    def write(self, lut: Lut, space: Space, path: Path, metric: Metric = "latency") -> list[Path]:
        """Write the table with its correction applied; returns the files, the table first.

        Args:
            path: the file, or a folder that gets ``filename``.
            metric: which numbers; a reader that adds numbers does not know what they are.

        Raises:
            GateError: the table lacks cells of the space, or the metric of some; nothing is written.
            UsageError: the format cannot hold this space, or this metric.
        """


_MADE: tuple[LutFormat, ...] = (
    NativeFormat(),
    OfaFormat(),
    ProxylessFormat(),
    FbnetFormat(),
    FbnetPytorchFormat(),
    SinglePathFormat(),
    HwNasBenchFormat(),
    ApqFormat(),
    TfNasFormat(),
    EfficientTdnnFormat(),
    ElasticResNetFormat(),
    HatFormat(),
    CsvFormat(),
    JsonFormat(),
    ParquetFormat(),
    NumpyFormat(),
    SqliteFormat(),
)


def _is_format(made: object) -> TypeGuard[LutFormat]:
    return isinstance(made, LutFormat)


_REGISTRY = FormatRegistry(GROUP, _MADE, _is_format, "name, card, filename and write")


def built_in_formats() -> tuple[LutFormat, ...]:
    """Those that edgecost brings, in the order of its documentation."""
    return _MADE


def format_names() -> list[str]:
    """Names of all formats. No plugin is imported for it."""
    return _REGISTRY.names()


def lut_format(name: str) -> LutFormat:
    """The format with this name; a built-in one wins over a plugin.

    Raises:
        UsageError: there is none, or the plugin cannot be imported or is no format.
    """
    return _REGISTRY.find(name)
