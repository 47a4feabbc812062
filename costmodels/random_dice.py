"""Dice for random blocks: channels and sizes drawn evenly on a logarithmic scale, as many small ones as large."""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np

from ..profiler.graphs.operators import GraphBuilder

Shape = tuple[int, ...]
T = TypeVar("T")
#: Heights and widths that networks have between their input and their last map.
_SIDES = (3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 128)


class Block(Protocol):
    """Whatever appends itself to a graph and returns the name of its output."""

    def build(self, graph: GraphBuilder, x: str) -> str: ...


#: A block, and the shape of its input; None where it would take too long or too much memory, and is drawn again.
Drawn = tuple[Block, Shape]


class Dice:
    """Draws in the ways that shapes of networks are spread."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def between(self, low: float, high: float) -> float:
        """Evenly on a logarithmic scale."""
        return float(np.exp(self.random.uniform(math.log(low), math.log(high))))

    def channels(self, low: int, high: int) -> int:
        """Mostly multiples of 8; a few are not, and cost more for it."""
        wanted = self.between(low, high)
        step = int(self.random.choice((8, 8, 8, 4, 16, 1, 2) if wanted >= 16 else (1, 2, 4, 8)))
        return max(step, round(wanted / step) * step)

    def side(self, low: int, high: int) -> int:
        return int(self.random.choice([side for side in _SIDES if low <= side <= high]))

    def one_of(self, *choices: T) -> T:
        return choices[int(self.random.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)
