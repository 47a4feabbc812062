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
#: Many small trees: with 4,000 kernels they are nearer to the predictor than fewer large ones.
_ROUNDS, _LEAVES = 1500, 8
_PROTOCOL = 4
#: In a model's text: what its sum is put through. Gamma regression's link is the exponential function.
_IDENTITY_LINK, _EXPONENTIAL_LINK = "\nobjective=regression\n", "\nobjective=gamma\n"


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
    """Train on four fifths of the rows and judge on the others, which the written model has not seen."""
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
    """A booster of logarithms that answers in milliseconds.

    Errors are to be relative: latencies lie four powers of ten apart. Gamma regression, which says the same, does not
    come down from its mean in thousands of rounds. So logarithms are learnt, and the model's text is told afterwards
    that what it adds up is one.
    """
    import lightgbm as lgb

    parameters = {
        "objective": "regression",
        "learning_rate": 0.1,
        "num_leaves": _LEAVES,
        "min_data_in_leaf": 5,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
    }
    booster = lgb.train(parameters, lgb.Dataset(features, np.log(latency_ms)), num_boost_round=_ROUNDS)
    text = booster.model_to_string()
    assert text.count(_IDENTITY_LINK) == 1, "LightGBM writes the objective on a line of its own"
    return lgb.Booster(model_str=text.replace(_IDENTITY_LINK, _EXPONENTIAL_LINK))
