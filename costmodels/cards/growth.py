"""Parts of a card: how the error fell with the number of measurements, and which would help most now."""

from __future__ import annotations

from dataclasses import dataclass

from ..validation import Accuracy

NOT_COVERED, EXTRAPOLATED, UNCERTAIN = "not covered", "extrapolated", "uncertain"
CELL, KERNEL, KINDS = "cell", "kernel", "kinds"


@dataclass(frozen=True)
class LearningPoint:
    """One point of a learning curve.

    Attributes:
        graphs: that trained, drawn by chance.
        unpriced: of the graphs that judged, how many had a kernel of which no training graph has its kind.
        accuracy: on graphs that did not train; those without a price miss every band.
    """

    graphs: int
    unpriced: int
    accuracy: Accuracy


@dataclass(frozen=True)
class NextMeasurement:
    """Something that nobody has measured on this device and runtime, and what its measurement is good for.

    Attributes:
        subject: key of a cell, signature of a kernel, or names of kinds of kernels.
        kind: ``cell``, ``kernel`` or ``kinds``.
        target: whose prices it makes better: a space, or networks.
        graph: graph hash of a cell; empty for others.
        reason: ``not covered``, ``extrapolated`` or ``uncertain``.
        why: the same in words, with its numbers.
        latency_ms, lo_ms, hi_ms: as it is priced now, and the 90 % interval; None without a price.
        share: of the prices of the target, in the mean; by its arithmetic where it has no price, None for kinds.
        gain: share of the expected squared error of the target's prices that its measurement takes away; None where
            there is no price yet.
    """

    subject: str
    kind: str
    target: str
    graph: str
    reason: str
    why: str
    latency_ms: float | None
    lo_ms: float | None
    hi_ms: float | None
    share: float | None
    gain: float | None
