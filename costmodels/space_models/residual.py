"""Trees on what the table leaves: LightGBM on the log-ratio to honest predictions, used only where it helps.

Three experts stand for election by cross-validation: the table alone, the table times trees that are shrunk, and trees
alone, for devices on which no sum of costs holds. Trees see the critical path or not, whichever predicts better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from .encoding import Encoding
from .ridge import folds_of

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Expert = Literal["table", "table+trees", "trees"]

#: Below this the folds are too small for trees to be judged, let alone to help.
ROWS_MIN = 50
#: Shares of the trees' score that are tried.
_SHRINKAGES = (0.25, 0.5, 0.75, 1.0)
#: An expert with trees must better the table by this share of its error, and by one standard error of the difference.
_GAIN_MIN = 0.01
#: A mean absolute log error below this (a hundredth of a per cent) leaves trees nothing but rounding to learn.
_GOOD_ENOUGH = 1e-4
#: Blocks that trees need not see: they can tell paths from operators and edges.
_NOT_FOR_TREES = ("paths",)


@dataclass(frozen=True)
class TreeSettings:
    """Shallow trees, small steps and absolute errors: rows are few, and some were disturbed when they were measured."""

    objective: str = "regression_l1"
    quantile: float | None = None
    rounds: int = 300
    learning_rate: float = 0.05
    leaves: int = 8
    min_rows_in_leaf: int = 10
    l2: float = 1.0
    feature_fraction: float = 0.7
    row_fraction: float = 0.8


SMALL = TreeSettings()
LARGE = TreeSettings(leaves=16, min_rows_in_leaf=5)
#: Squared errors: absolute ones overlook what happens to a quarter of the rows only.
SQUARED = TreeSettings(objective="regression")
ALONE = TreeSettings(learning_rate=0.1)


@dataclass(frozen=True, eq=False)
class Correction:
    """The expert that won, fitted on all rows.

    Attributes:
        blocks: blocks of the encoding that the trees see; empty for the table alone.
        shrinkage: factor on the trees' score.
        held_out_ms: prediction of each row of the fit by trees and table that had not seen it, shape (rows,).
        errors_percent: mean absolute log error of each candidate on held-out rows, times 100.
    """

    expert: Expert
    blocks: tuple[str, ...]
    shrinkage: float
    booster: lgb.Booster | None
    held_out_ms: Floats
    errors_percent: Mapping[str, float]

    def apply(self, encoding: Encoding, table_ms: Floats) -> Floats:
        """The table's predictions corrected, shape (architectures,), milliseconds."""
        if self.booster is None:
            return table_ms
        score = tree_score(self.booster, encoding.matrix(*self.blocks))
        corrected: Floats = np.exp(score) if self.expert == "trees" else table_ms * np.exp(self.shrinkage * score)
        return corrected


@dataclass(frozen=True)
class _Candidate:
    name: str
    expert: Expert
    blocks: tuple[str, ...]
    settings: TreeSettings


@dataclass(frozen=True, eq=False)
class _Outcome:
    """A candidate with one shrinkage: held-out predictions and their absolute log errors, both of shape (rows,)."""

    candidate: _Candidate
    shrinkage: float
    held_out_ms: Floats
    error: Floats


def train_trees(features: Floats, target: Floats, settings: TreeSettings, seed: int) -> lgb.Booster:
    """Train; equal arguments give equal models, whatever the number of processors."""
    import lightgbm as lgb

    parameters: dict[str, str | float | bool] = {
        "objective": settings.objective,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_rows_in_leaf,
        "lambda_l2": settings.l2,
        "feature_fraction": settings.feature_fraction,
        "bagging_fraction": settings.row_fraction,
        "bagging_freq": 1,
        # Columns are counts and choices: finer bins cost time and find nothing.
        "max_bin": 63,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    if settings.quantile is not None:
        parameters["alpha"] = settings.quantile
    return lgb.train(parameters, lgb.Dataset(features, label=target), num_boost_round=settings.rounds)


def tree_score(booster: lgb.Booster, features: Floats) -> Floats:
    """What trees say, shape (rows,). One thread: for a few thousand rows starting more costs as much as it saves."""
    return np.asarray(booster.predict(features, num_threads=1), dtype=np.float64).reshape(len(features))


def elect(encoding: Encoding, latency_ms: Floats, table_ms: Floats, *, folds: int = 5, seed: int = 0) -> Correction:
    """Choose between table, table with trees, and trees, and fit the winner on all rows.

    Args:
        latency_ms: shape (rows,), positive.
        table_ms: held-out predictions of the table for the same rows. Fitted ones would leave the trees nothing to
            learn.
    """
    of_table = np.abs(np.log(latency_ms / table_ms))
    errors = {"table": float(of_table.mean() * 100)}
    if len(latency_ms) < max(ROWS_MIN, folds) or of_table.mean() < _GOOD_ENOUGH:
        return Correction("table", (), 0.0, None, table_ms, errors)
    fold = folds_of(len(latency_ms), folds, seed)
    outcomes = [
        outcome
        for candidate in _candidates(encoding.names)
        for outcome in _judge(candidate, encoding, latency_ms, table_ms, fold, seed)
    ]
    for outcome in outcomes:
        name = outcome.candidate.name
        errors[name] = min(errors.get(name, np.inf), float(outcome.error.mean() * 100))
    best = min(outcomes, key=lambda outcome: float(outcome.error.mean()))
    if not _is_better(best.error, of_table):
        return Correction("table", (), 0.0, None, table_ms, errors)
    winner = best.candidate
    booster = train_trees(encoding.matrix(*winner.blocks), _target(winner, latency_ms, table_ms), winner.settings, seed)
    return Correction(winner.expert, winner.blocks, best.shrinkage, booster, best.held_out_ms, errors)


def _candidates(names: tuple[str, ...]) -> list[_Candidate]:
    seen = tuple(name for name in names if name not in _NOT_FOR_TREES)
    candidates = [
        _Candidate("table+trees", "table+trees", seen, SMALL),
        _Candidate("table+larger trees", "table+trees", seen, LARGE),
        _Candidate("table+trees, squared errors", "table+trees", seen, SQUARED),
        _Candidate("trees", "trees", seen, ALONE),
    ]
    serial = tuple(name for name in seen if name != "critical_path")
    if serial != seen:
        candidates += [
            _Candidate("table+trees, no critical path", "table+trees", serial, SMALL),
            _Candidate("trees, no critical path", "trees", serial, ALONE),
        ]
    return candidates


def _target(candidate: _Candidate, latency_ms: Floats, table_ms: Floats) -> Floats:
    log_latency: Floats = np.log(latency_ms)
    return log_latency - np.log(table_ms) if candidate.expert == "table+trees" else log_latency


def _judge(
    candidate: _Candidate, encoding: Encoding, latency_ms: Floats, table_ms: Floats, fold: Ints, seed: int
) -> Iterator[_Outcome]:
    """What a candidate says of rows that it had not seen, for each shrinkage."""
    features, target = encoding.matrix(*candidate.blocks), _target(candidate, latency_ms, table_ms)
    score = np.empty(len(target))
    for number in np.unique(fold):
        inside, outside = fold != number, fold == number
        booster = train_trees(features[inside], target[inside], candidate.settings, seed)
        score[outside] = tree_score(booster, features[outside])
    for shrinkage in _SHRINKAGES if candidate.expert == "table+trees" else (1.0,):
        held_out = table_ms * np.exp(shrinkage * score) if candidate.expert == "table+trees" else np.exp(score)
        yield _Outcome(candidate, shrinkage, held_out, np.abs(np.log(latency_ms / held_out)))


def _is_better(error: Floats, of_table: Floats) -> bool:
    gain = of_table - error
    needed = max(_GAIN_MIN * float(of_table.mean()), float(gain.std(ddof=1)) / np.sqrt(len(gain)))
    return bool(gain.mean() > needed)
