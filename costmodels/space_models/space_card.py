"""The model card of a space's model: from the predictions that its cross-validation held out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...profiler.records import Json
from ..cards.model_card import NOMINAL, IntervalCoverage, ModelCard, by_size, now, thinned_pairs, versions
from ..cards.training_data import TrainingData
from ..validation import accuracy
from .intervals import CALIBRATION_MIN, conformal_bounds
from .space_model import SpaceModel

#: What the pairs of a picture are called; a space's model knows no kinds.
_KIND = "architecture"
_DEVICE = {"name": "device", "identity": "device_identity", "description": "device_description"}


def space_card(
    model: SpaceModel, provenance: Mapping[str, Json], *, metric: str = "latency", unit: str = "ms"
) -> ModelCard | None:
    """The card of a fitted model; None for one that was loaded: its held-out predictions are not kept on disk.

    Args:
        provenance: names the device as predictors do (``device``, ``device_identity``, ``device_description``), and
            ``profile`` and ``space`` for people; whatever is missing the card does not tell.
    """
    if not hasattr(model, "measured_ms_"):
        return None
    measured, predicted, report = model.measured_ms_, model.correction_.held_out_ms, model.report()
    left_out = {"networks without a way to the output": report.degenerate_rows} if report.degenerate_rows else {}
    names = [""] * len(measured)
    return ModelCard(
        model="space-model",
        metric=metric,
        unit=unit,
        made_at=now(),
        versions=versions(),
        device={name: str(provenance[key]) for name, key in _DEVICE.items() if key in provenance},
        profile=None,
        profile_label=str(provenance.get("profile", "")),
        environment=None,
        data=TrainingData(
            rows=report.rows,
            purposes={},
            graphs=report.rows,
            kernels=0,
            networks=report.rows,
            sessions=0,
            measured_from="",
            measured_until="",
            protocols={},
            environments=0,
            left_out=left_out,
            seed=model.random_state,
        ),
        held_out=accuracy(predicted, measured),
        floor=None,
        floor_radius=None,
        flops_only=None,
        networks=None,
        by_kind=(),
        by_size=by_size(predicted, measured),
        coverage=tuple(_coverage(model, nominal) for nominal in NOMINAL),
        network_coverage=(),
        limits=_limits(model),
        pairs=thinned_pairs(predicted, measured, [_KIND] * len(measured), names),
        anchors=(),
        canary_us=None,
        probe=None,
    )


def _coverage(model: SpaceModel, nominal: float) -> IntervalCoverage:
    """Each fifth of the architectures by the errors of the others; None for quantile bands, which learn from all."""
    scores = np.log(model.measured_ms_ / model.correction_.held_out_ms)
    if model.interval != "conformal" or len(scores) < CALIBRATION_MIN:
        return IntervalCoverage(nominal, None, len(scores))
    order = np.random.default_rng(model.random_state).permutation(len(scores))
    part = np.empty(len(scores), dtype=np.int64)
    part[order] = np.arange(len(scores)) % model.folds
    inside: list[bool] = []
    for number in range(model.folds):
        low, high = conformal_bounds(np.sort(scores[part != number]), round(1 - nominal, 9))
        inside += ((scores[part == number] >= low) & (scores[part == number] <= high)).tolist()
    return IntervalCoverage(nominal, float(np.mean(inside)), len(scores))


def _limits(model: SpaceModel) -> tuple[str, ...]:
    report = model.report()
    told = [
        f"It prices architectures of its own space only, from {model.measured_ms_.min():.4g} to"
        f" {model.measured_ms_.max():.4g} ms; beyond, it extrapolates and says so.",
        f"Its table alone is {report.table_error_percent:.1f} % off in the mean, the model"
        f" {report.model_error_percent:.1f} % ({report.expert}).",
    ]
    if not model.degenerate_seen_:
        told.append("No network without a way to the output was measured: such ones have no interval.")
    if len(model.scores_) < CALIBRATION_MIN:
        told.append(f"Fewer than {CALIBRATION_MIN} architectures were held out: there are no intervals.")
    if model.interval == "quantile":
        told.append("Its intervals learn from all rows; what they hold of others was not measured here.")
    told.append("Nothing was measured twice: how well a measurement agrees with another one is not known.")
    return tuple(told)
