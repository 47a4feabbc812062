"""What held-out predictions are worth, in whatever unit: accuracy, its floor, a baseline, and interval coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.records import Json
from ..conformal import cross_coverage
from ..validation import Accuracy, accuracy, repeatability_of

Floats = npt.NDArray[np.float64]

#: Nominal share of graphs outside the intervals that are judged.
ALPHA = 0.1


@dataclass(frozen=True)
class Judgement:
    """Agreement with what was measured.

    Attributes:
        held_out: of predictions by models that had not seen the graph.
        floor: of a second measurement in another process; None without repetitions.
        baseline: of something that needs no learning; its name is ``baseline_name``.
        coverage: share of held-out graphs inside the 90 % interval; None when too few.
    """

    held_out: Accuracy | None
    floor: Accuracy | None
    baseline: Accuracy | None
    baseline_name: str
    coverage: float | None

    def document(self) -> dict[str, Json]:
        """As JSON."""

        def table(value: Accuracy | None) -> Json:
            return None if value is None else dict(asdict(value))

        return {
            "held_out": table(self.held_out),
            "repeatability_floor": table(self.floor),
            "baseline": table(self.baseline),
            "baseline_name": self.baseline_name,
            "interval_nominal_coverage": 1 - ALPHA,
            "interval_measured_coverage": self.coverage,
        }


def judge(
    held_out: Floats,
    measured: Floats,
    sessions: Sequence[Sequence[float]],
    fold: npt.NDArray[np.int64],
    baseline: Floats,
    baseline_name: str,
    spread: Floats | None = None,
) -> Judgement:
    """Judge predictions, all of shape (graphs,); NaN where there is none.

    Args:
        sessions: the values of each graph's sessions.
        fold: which fold each graph was held out with.
        spread: what the radius of each one's interval is multiplied by; None for 1.
    """
    errors = np.abs(np.log(held_out / measured))
    known = np.isfinite(errors)
    scores = errors if spread is None else errors / spread
    return Judgement(
        held_out=accuracy(held_out, measured),
        floor=repeatability_of(sessions),
        baseline=accuracy(baseline, measured),
        baseline_name=baseline_name,
        coverage=cross_coverage(scores[known], fold[known], ALPHA),
    )
