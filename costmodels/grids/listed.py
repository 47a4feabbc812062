"""The cells of a space priced as those of a grid are: of a few the optimiser is asked, of the others it is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...profiler.records import RuntimeProfile
from ..predictor import LatencyPredictor
from ..spaces.cell import Cell
from ..spaces.kinds import KINDS, Shape
from .cells import Cells, Ints
from .fields import GRID_BLOCKS, Fields, fields_of
from .learning import learn
from .pieces import ALPHA, asks
from .pricing import CellPrices, GridPricer

#: Cells of one kind of block from which learning is quicker than asking for each.
LEAST = 1000
#: A kind of which there are more is priced in pieces of so many.
MOST = 100_000


@dataclass(frozen=True, eq=False)
class Listed:
    """Cells of one kind of block in any order, in the place of a part of a grid."""

    every: Cells

    @property
    def block(self) -> str:
        return self.every.block

    @property
    def size(self) -> int:
        return self.every.count

    @cached_property
    def limits(self) -> dict[str, int]:
        """The largest value of each of ``Cells.sizes``."""
        return {name: int(column.max()) for name, column in self.every.sizes.items()}

    def cells(self, ranks: Ints) -> Cells:
        """Those with these numbers in 0 … size - 1."""
        return self.every.take(ranks)


def can_be_listed(cells: Sequence[Cell]) -> bool:
    """Whether cells of one kind of block are so many that it is sooner done together, and fields say them whole."""
    if len(cells) < LEAST or (block := cells[0].spec.block) not in GRID_BLOCKS:
        return False
    fields = fields_of(block)
    # A map that is not square, or a signal where the kind's fields say images, is not what would be built.
    return all(fields.input_shape(_input(fields, cell.input_shape)) == cell.input_shape for cell in cells)


def price_listed(
    cells: Sequence[Cell], predictor: LatencyPredictor, profile: RuntimeProfile, seed: int = 0
) -> CellPrices:
    """The price of each; all are of one kind of block.

    Raises:
        ModelError: the runtime cannot take a cell that it is asked for.
    """
    ask = asks(profile)
    pieces = []
    for first in range(0, len(cells), MOST):
        part = Listed(listed(cells[first : first + MOST]))
        pricer = GridPricer(predictor, learn(part, ask, seed), part.limits, ask, ALPHA)
        pieces.append(pricer.price(part.every))
    return CellPrices(
        *(np.concatenate([getattr(one, name) for one in pieces]) for name in ("latency_ms", "lo_ms", "hi_ms", "source"))
    )


def listed(cells: Sequence[Cell]) -> Cells:
    """Cells of one kind of block as arrays.

    Raises:
        ValueError: one of them is not what its fields say, for example on a map that is not square.
    """
    block = cells[0].spec.block
    fields = fields_of(block)
    texts = {name: list(offered) for name, offered in fields.texts.items()}
    rows = []
    for cell in cells:
        spec = cell.spec
        own = (*fields.numbers, *fields.flags, *texts)
        said = spec.values if block in KINDS else {name: getattr(spec, name) for name in own}
        row = _input(fields, cell.input_shape)
        row |= {name: int(said[name]) for name in (*fields.numbers, *fields.flags)}
        for name, offered in texts.items():
            text = str(said[name])
            if text not in offered:
                offered.append(text)
            row[name] = offered.index(text)
        rows.append(row)
    columns = {name: np.array([row[name] for row in rows], np.int64) for name in rows[0]}
    made = Cells(block, columns, {name: tuple(offered) for name, offered in texts.items()})
    if made.keys() != [cell.key for cell in cells]:
        raise ValueError(f"cells of {block} are more than their fields")
    return made


def _input(fields: Fields, shape: Shape) -> dict[str, int]:
    if fields.form == "tokens":
        return {"length": shape[1], "channels": shape[-1]}
    return dict(zip(fields.inputs, shape[1:], strict=False))
