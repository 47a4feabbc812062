"""A small model that answers as a predictor does, in features that somebody else's reader has."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...profiler.records import Json

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]

#: Kernels that judge and do not train.
_HELD_OUT = 0.2
#: Fewest rows that are worth a model: the held-out part is then eight.
LEAST_ROWS = 40
_ROUNDS = 400
_PROTOCOL = 4


@dataclass(frozen=True)
class Distilled:
    """A model, and how far it is from the predictor on kernels that it has not seen.

    Attributes:
        content: the pickle of a ``lightgbm.Booster``; ``predict(rows)`` gives milliseconds.
        mean_error, median_error: relative.
        within_tenth: share of held-out kernels that are less than 10 % off.
    """

    content: bytes
    trained_on: int
    judged_on: int
    mean_error: float
    median_error: float
    within_tenth: float

    def document(self) -> dict[str, Json]:
        """All but the model."""
        return {name: value for name, value in asdict(self).items() if name != "content"}


def distil(features: Floats, latency_ms: Floats, seed: int) -> Distilled:
    """Train on four fifths of the rows and judge on the others.

    Gamma regression with a logarithmic link: answers are positive, and a short kernel counts as much as a long one.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    judged, trained = np.split(order, [int(_HELD_OUT * len(order))])
    booster = _train(features[trained], latency_ms[trained], seed)
    answers = np.asarray(booster.predict(features[judged]), dtype=np.float64)
    errors = np.abs(answers / latency_ms[judged] - 1.0)
    return Distilled(
        content=pickle.dumps(booster, _PROTOCOL),
        trained_on=len(trained),
        judged_on=len(judged),
        mean_error=float(errors.mean()),
        median_error=float(np.median(errors)),
        within_tenth=float((errors < 0.1).mean()),
    )


def _train(features: Floats, latency_ms: Floats, seed: int) -> lgb.Booster:
    import lightgbm as lgb

    parameters = {
        "objective": "gamma",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 5,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
    }
    return lgb.train(parameters, lgb.Dataset(features, latency_ms), num_boost_round=_ROUNDS)
