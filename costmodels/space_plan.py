"""What to measure for a space: its cells, relatives of the cells that stand alone, and a panel measured twice.

A stem or a classifier is the only one of its kind in a space. Without relatives of other sizes no model could say
anything about it that was not measured, and the intervals would not know that.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

from ..profiler.errors import UsageError
from ..profiler.workload import Workload
from .campaign import Planned
from .space import Space
from .spaces.cell import PLAIN_BLOCKS, BlockSpec, Cell, make_cell

#: Relatives of a fixed cell: channels and sides times these factors.
_RELATIVES = ((0.5, 1.0), (0.75, 1.0), (1.25, 1.0), (1.0, 0.75), (0.75, 0.5), (1.5, 0.75))
#: Images have three channels whatever the network's width.
_IMAGE_CHANNELS = 3


def plan_space(space: Space, *, panel_share: float = 0.1, panel_sessions: int = 1, seed: int = 0) -> list[Planned]:
    """The workloads of a campaign, cells first, in random order within a purpose so that any prefix is a fair sample.

    Args:
        panel_share: share of the cells that is measured again in other processes (the repeatability panel).
        panel_sessions: processes that measure the panel, each cell once in each.

    Raises:
        UsageError: a share below 0 or above 1.
    """
    if not 0 <= panel_share <= 1:
        raise UsageError(f"a share lies between 0 and 1, not at {panel_share}")
    shuffle = random.Random(seed)
    cells = list(space.measurable)
    shuffle.shuffle(cells)
    panel = shuffle.sample(cells, math.ceil(panel_share * len(cells)))
    planned = [Planned(_built(space, cell), "cell", cell.key, priority=3) for cell in cells]
    planned += [Planned(_built(space, cell), "support", cell.key, priority=2) for cell in relatives(space)]
    for session in range(panel_sessions):
        # A priority of its own for each: what has one priority may be measured in one process.
        planned += [
            Planned(_built(space, cell), "panel", cell.key, priority=1 - session, round=session) for cell in panel
        ]
    return planned


def relatives(space: Space) -> list[Cell]:
    """Cells like the fixed ones of a space, in other sizes; none of them is in the space."""
    own = {cell.key for cell in space.cells}
    found: dict[str, Cell] = {}
    for cell in space.measurable:
        # Other kinds of block stand in other sizes wherever a space chooses them.
        if cell.kind == "fixed" and cell.spec.block in PLAIN_BLOCKS:
            for relative in _vary(cell):
                if relative.key not in own:
                    found.setdefault(relative.key, relative)
    return list(found.values())


def _vary(cell: Cell) -> Iterator[Cell]:
    n, c, h, w = cell.input_shape
    for width, side in _RELATIVES:
        channels = c if c <= _IMAGE_CHANNELS else _scaled(c, width)
        shape = (n, channels, max(1, round(h * side)), max(1, round(w * side)))
        yield make_cell(cell.layer, "fixed", _widen(cell.spec, width, channels), shape)


def _widen(spec: BlockSpec, width: float, channels: int) -> BlockSpec:
    out = channels if spec.block == "global_pool" else _scaled(spec.out, width)
    mid = _scaled(spec.mid, width) if spec.expands else channels
    return replace(
        spec, out=out, mid=mid if spec.mid else 0, squeeze=_scaled(spec.squeeze, width) if spec.squeeze else 0
    )


def _scaled(channels: int, factor: float) -> int:
    return max(8, round(channels * factor / 8) * 8)


def _built(space: Space, cell: Cell) -> Workload:
    workload = space.workload(cell)
    assert workload is not None, "an identity is never planned"
    return workload
