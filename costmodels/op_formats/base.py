"""What tables of operators have in common: list the rows, price each operator once, refuse gaps, write, and say so.

A format lists its rows and makes its files; it is asked for numbers only when every row has one.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...profiler.errors import GateError, UsageError
from ...profiler.records import Json
from ..lut_formats.card import UNITS, FormatCard
from .operators import Operator
from .prices import OpPrice, Prices
from .request import Request
from .side import side_text, write_files

#: Rows without a price that an error names; more would fill the terminal.
_NAMED = 20


@dataclass(frozen=True)
class Row:
    """One number of a table before it is priced.

    Attributes:
        name: of the row in the table.
        operator: None where the model's node cannot stand alone.
        bits: whose prices: a key of ``Request.by_bits``, None for ``Request.prices``.
    """

    name: str
    operator: Operator | None
    bits: tuple[int, int] | None = None


@dataclass(frozen=True)
class Priced:
    """A row with its number: ms, or mJ in its place where energies are asked for."""

    row: Row
    price: OpPrice
    latency_ms: float


class OpTableFormat(ABC):
    """Subclass it: ``name``, ``card``, ``rows`` and ``render``.

    Attributes:
        models: how many ONNX files it is written from, at least and at most.
    """

    name: ClassVar[str]
    card: ClassVar[FormatCard]
    models: ClassVar[tuple[int, int]] = (0, 0)

    @abstractmethod
    def rows(self, request: Request) -> list[Row]:
        """Every number that the table needs, in its order.

        Raises:
            UsageError: the reader cannot use what is asked for.
        """

    @abstractmethod
    def render(self, priced: Sequence[Priced], request: Request) -> dict[str, bytes]:
        """The files by name, below the folder that the user names."""

    def said(self, priced: Sequence[Priced], request: Request) -> dict[str, Json]:
        """What the side file says beside what all of them say; it names the batch."""
        return {"batch": _batch(request)}

    def write(self, request: Request, folder: Path) -> list[Path]:
        """See ``OpFormat``."""
        check_models(self.name, self.models, request)
        unit = unit_of(self.name, self.card, request)
        rows = self.rows(request)
        if not rows:
            raise UsageError(f"there is nothing in it that the format '{self.name}' has a row for")
        priced = price_rows(self.name, rows, request)
        files = self.render(priced, request)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        told: Json = {one.row.name: _told(one, UNITS[unit]) for one in priced}
        side = side_text(
            self.name, hashes, (request.metric, unit), request.prices.about, told, self.said(priced, request)
        )
        return write_files(folder, files, side)


def unit_of(name: str, card: FormatCard, request: Request) -> str:
    """The reader's unit of the metric that is asked for.

    Raises:
        UsageError: it cannot hold the metric.
    """
    unit = card.unit(request.metric)
    if unit is None:
        held = ", ".join(metric for metric, _ in card.units)
        raise UsageError(f"the format '{name}' cannot hold {request.metric}", remedy=f"it holds: {held}")
    return unit


def check_models(name: str, wanted: tuple[int, int], request: Request) -> None:
    """Refuse a wrong number of models.

    Raises:
        UsageError: too few or too many.
    """
    least, most = wanted
    if least <= len(request.models) <= most:
        return
    if not most:
        raise UsageError(f"the format '{name}' is made from no model", remedy="leave the ONNX files out")
    many = "one ONNX file" if most == 1 else "ONNX files"
    raise UsageError(f"the format '{name}' is made from {many}; {len(request.models)} were given")


def price_rows(name: str, rows: Sequence[Row], request: Request) -> list[Priced]:
    """Ask about each operator once.

    Raises:
        GateError: rows without a price; they are listed.
    """
    known: dict[tuple[tuple[int, int] | None, str], OpPrice] = {}
    for bits in dict.fromkeys(row.bits for row in rows):
        asked = {row.operator.key: row.operator for row in rows if row.bits == bits and row.operator is not None}
        request.narrator.stage(f"pricing {name}", len(asked))
        prices = _prices(request, bits).price(list(asked.values()), request.narrator)
        known |= {(bits, key): price for key, price in zip(asked, prices, strict=True)}
    alone = OpPrice(None, "unsupported", why="it cannot be taken out of its model")
    found = [(row, alone if row.operator is None else known[(row.bits, row.operator.key)]) for row in rows]
    require_prices(name, [(row.name, price) for row, price in found])
    return [Priced(row, price, price.latency_ms) for row, price in found if price.latency_ms is not None]


def require_prices(name: str, found: Sequence[tuple[str, OpPrice]]) -> None:
    """Refuse rows without a price, and list them.

    Raises:
        GateError: there are some.
    """
    missing = [(row, price.why) for row, price in found if price.latency_ms is None]
    if not missing:
        return
    listed = "\n".join(f"  {row}: {why}" for row, why in missing[:_NAMED])
    more = f"\n  and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    raise GateError(
        f"{len(missing)} of {len(found)} rows of '{name}' have no price; a table with gaps is not written:\n"
        f"{listed}{more}",
        remedy="measure kernels of these kinds, for example: edgecost campaign kernels; then edgecost train",
    )


def _prices(request: Request, bits: tuple[int, int] | None) -> Prices:
    return request.prices if bits is None else request.by_bits[bits]


def _batch(request: Request) -> Json:
    """Of the models: the first dimension of what they read."""
    return [*sorted({model.layers[0].input[0] for model in request.models if model.layers and model.layers[0].input})]


def _told(one: Priced, factor: float) -> Json:
    lo, hi = (None if bound is None else bound * factor for bound in (one.price.lo_ms, one.price.hi_ms))
    operator = "" if one.row.operator is None else one.row.operator.key
    told: Mapping[str, Json] = {"operator": operator, "source": one.price.source, "lo": lo, "hi": hi}
    return dict(told)
