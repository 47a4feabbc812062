"""The model card of a predictor of energy or memory: from the predictions that its cross-validation held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.records import Json, RuntimeProfile
from ..cards.model_card import ModelCard, coverages, now, thinned_pairs, versions
from ..cards.training_data import TrainingData
from .judgement import Judgement
from .metric import Metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: The one baseline that cards have a line for.
FLOPS_ONLY = "FLOPs only"
_DEVICE = {"name": "device", "identity": "device_identity", "description": "device_description"}


@dataclass(frozen=True)
class HeldOut:
    """What a predictor was trained on and judged by, in its own unit; arrays of shape (graphs,), NaN for no prediction.

    Attributes:
        kinds: what the picture calls each graph.
        spread: what the radius of each one's interval is multiplied by; None for 1.
        sessions: how often each graph was measured.
    """

    hashes: Sequence[str]
    kinds: Sequence[str]
    measured: Floats
    predicted: Floats
    fold: Ints
    spread: Floats | None
    sessions: Sequence[int]


def metric_card(
    metric: Metric,
    of: HeldOut,
    judgement: Judgement,
    profile: RuntimeProfile,
    *,
    model: str,
    graphs: int,
    networks: int,
    left_out: Mapping[str, int],
    seed: int,
    limits: Sequence[str],
) -> ModelCard:
    """The card, without what it does not know: when the rows were measured, and in which environment.

    Args:
        model: as ``ModelFolder`` names it.
        graphs, networks: that took part.
        left_out: measurements that took no part, by reason.
        limits: what the predictor cannot do, a sentence each.
    """
    errors = np.abs(np.log(of.predicted / of.measured))
    known = np.isfinite(errors)
    scores = errors if of.spread is None else errors / of.spread
    return ModelCard(
        model=model,
        metric=metric.name,
        unit=metric.unit,
        made_at=now(),
        versions=versions(),
        device={},
        profile=profile.document(),
        profile_label=profile.label,
        environment=None,
        data=TrainingData(
            rows=sum(of.sessions),
            purposes={},
            graphs=graphs,
            kernels=None,
            networks=networks,
            sessions=max(of.sessions, default=0),
            measured_from="",
            measured_until="",
            protocols={},
            environments=None,
            left_out=dict(left_out),
            seed=seed,
        ),
        held_out=judgement.held_out,
        floor=judgement.floor,
        floor_radius=None,
        flops_only=judgement.baseline if judgement.baseline_name == FLOPS_ONLY else None,
        networks=None,
        by_kind=(),
        by_size=(),
        coverage=coverages(scores[known], of.fold[known]),
        network_coverage=(),
        limits=tuple(limits),
        pairs=thinned_pairs(of.predicted, of.measured, of.kinds, of.hashes, of.spread),
        anchors=(),
        canary_us=None,
        probe=None,
    )


def of_device(provenance: Mapping[str, Json]) -> dict[str, str]:
    """What the origin of a predictor says of its device, as cards name it."""
    return {name: str(provenance[key]) for name, key in _DEVICE.items() if key in provenance}
