"""The latency model of one device over an architecture-indexed space: table, trees where they help, honest intervals.

From about a hundred measured architectures on; for ten or twenty there are the models that know other devices. Saving
and loading stand in ``space_model_file.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .encoding import Encoding
from .intervals import Band, check_calibration, conformal_bounds, fit_bands
from .residual import Correction, Expert, elect
from .ridge import Table, TableFit, fit_table

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
IntervalMethod = Literal["conformal", "quantile"]

#: Fewest architectures from which a model is fitted.
ROWS_MIN = 20
#: Shares for which quantile bands are learnt: LightGBM has to know the quantile when it is trained.
BAND_ALPHAS = (0.2, 0.1, 0.05)
#: A single degenerate network is believed to follow a law of its own only from this factor on.
_OWN_LAW = 2.0


@dataclass(frozen=True)
class SpaceReport:
    """What a fitted model is, and what it and its table alone are worth on rows that neither had seen.

    Attributes:
        rows: architectures that took part in the fit; ``degenerate_rows`` did not.
        expert: who speaks: the table, the table with trees, or trees alone.
        table_error_percent: mean absolute error of the table alone, cross-validated, in per cent of the measured value.
        table_leave_one_out_percent: the same by exact leave-one-out, under the weights that all rows gave.
        model_error_percent: cross-validated error of the full model.
        candidates_percent: mean absolute log error of each candidate, times 100.
        scales: scale of each block in the table, 0 where left out; ``penalty`` of the ridge.
        degenerate_ms: the latency that networks without a way to the output have; None where they follow the model.
        shrinkage: factor on the trees' score; 0 for the table alone.
    """

    rows: int
    degenerate_rows: int
    expert: Expert
    table_error_percent: float
    table_leave_one_out_percent: float
    model_error_percent: float
    candidates_percent: Mapping[str, float]
    scales: Mapping[str, float]
    penalty: float
    shrinkage: float
    degenerate_ms: float | None
    intervals: str

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.rows} architectures; {self.expert} chosen by cross-validation",
            f"error of the table alone {self.table_error_percent:.2f} %, of the model {self.model_error_percent:.2f} %"
            " (mean, on architectures not seen)",
            f"intervals: {self.intervals}",
        ]


class SpaceModel:
    """Predicts the latency of architectures of one space on one device. scikit-learn manners, without scikit-learn.

    Args:
        folds: folds of the cross-validation that elects the expert and calibrates intervals.
        interval: ``conformal`` (one relative band for all) or ``quantile`` (LightGBM's quantiles, conformalised).
        random_state: seed of folds and of LightGBM; equal seeds give equal models.

    Attributes set by ``fit``: ``table_``, ``correction_``, ``scores_`` (log(measured / predicted) on held-out rows,
    ascending), ``bands_``, ``low_`` and ``high_`` (range of each column), ``degenerate_seen_``, ``degenerate_ms_`` and
    ``degenerate_scores_``, ``report_``; ``measured_ms_``, not kept on disk, as ``correction_.held_out_ms``.
    """

    def __init__(self, *, folds: int = 5, interval: IntervalMethod = "conformal", random_state: int = 0) -> None:
        self.folds = folds
        self.interval: IntervalMethod = interval
        self.random_state = random_state

    def fit(self, encoding: Encoding, latency_ms: npt.ArrayLike) -> SpaceModel:
        """Train on measured architectures.

        Degenerate networks take no part: some runtimes leave them out altogether, and a hundredth of a millisecond
        bends any fit to relative errors. They get the model's own predictions where those hold for the degenerate rows
        given, otherwise one latency of their own.

        Args:
            latency_ms: shape (architectures,), positive and finite.

        Raises:
            UsageError: lengths differ, latencies are not positive and finite, fewer than ``ROWS_MIN`` architectures
                with a way to the output, or constructor arguments that cannot work.
        """
        measured = self._checked(encoding, latency_ms)
        sane = np.logical_not(encoding.degenerate)
        known, target = encoding.take(sane), measured[sane]
        fitted = fit_table(known, target, seed=self.random_state)
        self.table_: Table = fitted.table
        self.correction_: Correction = elect(
            known, target, fitted.held_out_ms, folds=self.folds, seed=self.random_state
        )
        scores = np.log(target / self.correction_.held_out_ms)
        self.columns_: tuple[str, ...] = encoding.columns
        self.measured_ms_: Floats = target
        self.low_: Floats = known.matrix().min(axis=0)
        self.high_: Floats = known.matrix().max(axis=0)
        self._fit_degenerate(encoding.take(np.logical_not(sane)), measured[np.logical_not(sane)])
        self.scores_: Floats = np.sort(scores)
        self.bands_: tuple[Band, ...] = ()
        if self.interval == "quantile":
            features = self._band_features(known, self.correction_.held_out_ms)
            self.bands_ = fit_bands(features, scores, BAND_ALPHAS, folds=self.folds, seed=self.random_state)
        self.report_: SpaceReport = self._report(fitted, target, int(np.logical_not(sane).sum()))
        return self

    def predict(self, encoding: Encoding) -> Floats:
        """Latency in milliseconds, shape (architectures,).

        Raises:
            UsageError: ``fit`` was not called, or the encoding has other columns.
        """
        self._check_fitted(encoding)
        predicted = self.correction_.apply(encoding, self.table_.predict(encoding))
        if self.degenerate_ms_ is not None:
            predicted = np.where(encoding.degenerate, self.degenerate_ms_, predicted)
        return predicted

    def predict_interval(self, encoding: Encoding, alpha: float = 0.1) -> Floats:
        """Interval that covers the measured latency with probability ``1 - alpha``, shape (architectures, 2), ms.

        It holds for architectures like those of the fit. For degenerate networks it is NaN where none was measured, and
        without bound where too few were.

        Raises:
            UsageError: too few rows for any interval, an ``alpha`` outside 0 … 1 or, with quantile bands, one that was
                not learnt.
        """
        predicted = self.predict(encoding)
        check_calibration(len(self.scores_))
        if self.interval == "quantile":
            bounds = self._band(alpha).bounds(self._band_features(encoding, predicted))
        else:
            bounds = np.tile(conformal_bounds(self.scores_, alpha), (encoding.size, 1))
        interval: Floats = predicted[:, None] * np.exp(bounds)
        odd = encoding.degenerate
        if not self.degenerate_seen_:
            interval[odd] = np.nan
        elif self.degenerate_ms_ is not None:
            # A law of their own has errors of its own: a handful of rows bounds nothing, and then says so.
            interval[odd] = self.degenerate_ms_ * np.exp(conformal_bounds(self.degenerate_scores_, alpha))
        return interval

    def extrapolates(self, encoding: Encoding) -> Bools:
        """Architectures with a column outside the range of the fit, or without a way to the output and none such was
        measured, shape (architectures,). For these neither prediction nor interval is backed by data.

        Raises:
            UsageError: ``fit`` was not called, or the encoding has other columns.
        """
        self._check_fitted(encoding)
        values = encoding.matrix()
        outside = np.any((values < self.low_) | (values > self.high_), axis=1)
        return np.where(encoding.degenerate, not self.degenerate_seen_, outside)

    def report(self) -> SpaceReport:
        """What was chosen, and the error of the table alone beside that of the model; raises UsageError before fit."""
        if not hasattr(self, "report_"):
            raise UsageError("this model knows nothing yet", remedy="call fit() first, or load_space_model()")
        return self.report_

    def _checked(self, encoding: Encoding, latency_ms: npt.ArrayLike) -> Floats:
        try:
            measured = np.asarray(latency_ms, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"latencies must be numbers: {error}") from error
        if measured.shape != (encoding.size,):
            raise UsageError(f"{encoding.size} architectures and latencies of shape {measured.shape} do not match")
        if not np.all(np.isfinite(measured) & (measured > 0)):
            raise UsageError("latencies must be positive and finite: leave out what could not be measured")
        if self.folds < 2 or self.interval not in ("conformal", "quantile"):
            raise UsageError(f"no model can be made with {self.folds} folds and {self.interval!r} intervals")
        rows = int((~encoding.degenerate).sum())
        if rows < ROWS_MIN:
            raise UsageError(
                f"{rows} measured architectures are too few to fit a model on; {ROWS_MIN} is the least",
                remedy="measure more, or use the model for few samples, which takes other devices into account",
            )
        return measured

    def _check_fitted(self, encoding: Encoding) -> None:
        self.report()
        if encoding.columns != self.columns_:
            raise UsageError("the model was fitted on other columns", remedy="encode the same space in the same way")

    def _fit_degenerate(self, encoding: Encoding, measured: Floats) -> None:
        self.degenerate_seen_ = len(measured) > 0
        self.degenerate_ms_: float | None = None
        self.degenerate_scores_: Floats = np.zeros(0)
        if not self.degenerate_seen_:
            return
        predicted = self.correction_.apply(encoding, self.table_.predict(encoding))
        if len(measured) == 1:
            own, needed = np.zeros(1), _OWN_LAW - 1.0
        else:
            others = [_relative_median(np.delete(measured, place)) for place in range(len(measured))]
            own, needed = np.array(others) / measured - 1.0, 0.0
        if np.mean(np.abs(predicted / measured - 1.0)) > np.mean(np.abs(own)) + needed:
            self.degenerate_ms_ = _relative_median(measured)
            self.degenerate_scores_ = np.sort(np.log(measured / self.degenerate_ms_))

    def _band(self, alpha: float) -> Band:
        for band in self.bands_:
            if abs(band.alpha - alpha) < 1e-9:
                return band
        raise UsageError(
            f"no quantile band was learnt for alpha {alpha}",
            remedy=f"Choose one of {', '.join(str(band.alpha) for band in self.bands_)}, or conformal intervals.",
        )

    def _band_features(self, encoding: Encoding, predicted_ms: Floats) -> Floats:
        names: Sequence[str] = [name for name in encoding.names if name != "paths"]
        return np.column_stack([np.log(predicted_ms), encoding.matrix(*names)])

    def _report(self, fitted: TableFit, measured: Floats, degenerate_rows: int) -> SpaceReport:
        enough = f"{self.interval}, from {len(self.scores_)} held-out architectures"
        return SpaceReport(
            rows=len(measured),
            degenerate_rows=degenerate_rows,
            expert=self.correction_.expert,
            table_error_percent=_percent(fitted.held_out_ms, measured),
            table_leave_one_out_percent=_percent(fitted.leave_one_out_ms, measured),
            model_error_percent=_percent(self.correction_.held_out_ms, measured),
            candidates_percent=dict(self.correction_.errors_percent),
            scales=dict(fitted.scales),
            penalty=fitted.penalty,
            shrinkage=self.correction_.shrinkage,
            degenerate_ms=self.degenerate_ms_,
            intervals=enough,
        )


def _percent(predicted: Floats, measured: Floats) -> float:
    return float(np.mean(np.abs(predicted / measured - 1.0)) * 100)


def _relative_median(latency_ms: Floats) -> float:
    """The constant with the least mean relative error: the median when each value weighs its reciprocal."""
    ordered = np.sort(latency_ms)
    weight = np.cumsum(1.0 / ordered)
    return float(ordered[np.searchsorted(weight, weight[-1] / 2)])
