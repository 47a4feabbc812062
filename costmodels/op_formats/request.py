"""What an export is asked for: whose prices, which models, which grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..lut_formats.card import Metric
from ..planned_campaign import Narrator
from .model_layers import ModelLayers
from .prices import Prices


class Silence:
    """A narrator that nobody listens to."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Grid:
    """Which convolutions stand in a grid, and which channels of a layer. Empty leaves it to the format.

    Attributes:
        steps: of a layer's channels, how many sizes on either side.
    """

    sides: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    steps: int = 5


@dataclass(frozen=True)
class Request:
    """One export.

    Attributes:
        prices: of the precision that the table is for.
        by_bits: of other precisions, by (bits of weights, bits of activations), for formats that hold several.
        samples: rows from which a model of a kernel is distilled.
        metric: which numbers; the prices are of it. A reader that looks numbers up does not know what they are.
        allow_missing: write a folder of models although some kernels have none.
    """

    prices: Prices
    models: tuple[ModelLayers, ...] = ()
    by_bits: Mapping[tuple[int, int], Prices] = field(default_factory=dict)
    grid: Grid = Grid()
    samples: int = 4000
    seed: int = 0
    metric: Metric = "latency"
    allow_missing: bool = False
    narrator: Narrator = field(default_factory=Silence)
