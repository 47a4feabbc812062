"""The model card: what a model was made of, what it is worth, and what it cannot do. Built when it is trained.

Everything in it is measured or counted then; nothing is computed from the model afterwards. ``card_file.py`` keeps it
beside the model, ``card_pictures.py`` draws it.
"""

from __future__ import annotations

import math
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from ...profiler.records import RuntimeProfile
from ..composition import held_out, network_bytes
from ..conformal import cross_coverage, furthest_errors
from ..dataset import Sample
from ..kernel_plan import missing_kinds
from ..kernel_work import kind_of
from ..predictor import LatencyPredictor
from ..validation import Accuracy, accuracy, repeatability_radius
from .anchors import Anchor, choose_anchors
from .growth import LearningPoint, NextMeasurement
from .training_data import Circumstances, ProbeFingerprint, TrainingData

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Graph = Sequence[Kernel]

#: Nominal coverages whose intervals are judged.
NOMINAL = (0.8, 0.9, 0.95)
#: Pairs that a card keeps at most: more cannot be told apart in a picture. Of more, evenly spaced ranks stand for all.
PAIRS_MAX = 2000
#: Characters of a graph's hash that a card keeps: enough to find it again among millions.
HASH_LENGTH = 16
#: A kind with fewer graphs is known by name only.
_THIN = 5
#: Bounds of the groups by size, in milliseconds.
_DECADES_MS = (0.0, 0.01, 0.1, 1.0, 10.0, math.inf)
#: A kind with a mean error beyond this has a price in name only.
_WRONG_PERCENT = 50.0
#: Names in one sentence.
_NAMED = 8
_PACKAGES = ("edgecost", "lightgbm", "numpy")


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy on the graphs of one kind or size."""

    name: str
    accuracy: Accuracy


@dataclass(frozen=True)
class IntervalCoverage:
    """An interval and what it held of ``n`` graphs that took no part in its making; None where there is none."""

    nominal: float
    held: float | None
    n: int


@dataclass(frozen=True)
class Pairs:
    """Held-out predictions beside measurements, an entry each, in the card's unit.

    Attributes:
        graph: begin of the graph's hash; empty for an architecture of a space.
        kind: what takes most of it.
        spread: what the radius of an interval is multiplied by; 1 where all errors are expected to be of one size.
    """

    graph: tuple[str, ...]
    kind: tuple[str, ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    spread: tuple[float, ...]


@dataclass(frozen=True)
class ModelCard:
    """One model and what is known of it. Shares between 0 and 1; None where there is no number.

    Attributes:
        model: ``predictor`` (kernels) or ``space-model`` (architectures).
        metric, unit: what is predicted.
        made_at: ISO-8601 in UTC.
        versions: of edgecost, LightGBM, numpy and Python.
        device: ``name``, ``identity`` and ``description``, as far as known.
        profile: document of the runtime profile; None where not known.
        environment: document of the environment that most measurements are from.
        held_out: each graph by a model that had not seen it; ``floor``: measured again in another process;
            ``flops_only``: a line through FLOPs, held out; ``networks``: whole networks, each left out.
        floor_radius: relative difference between two sessions that nine of ten graphs stay within.
        by_kind, by_size: ``held_out`` by the kind that takes most of a graph, and by measured size.
        coverage, network_coverage: of the intervals, on held-out graphs and left-out networks.
        limits: what it cannot do, a sentence each.
        canary_us, probe: levels of the device then (``training_data.Circumstances``).
        curve: how the error fell with the number of graphs, and ``next``: what to measure next; empty where nobody
            asked: of energies, of spaces, and in cards made before schema 2.
    """

    model: str
    metric: str
    unit: str
    made_at: str
    versions: Mapping[str, str]
    device: Mapping[str, str]
    profile: Mapping[str, object] | None
    profile_label: str
    environment: Mapping[str, object] | None
    data: TrainingData
    held_out: Accuracy | None
    floor: Accuracy | None
    floor_radius: float | None
    flops_only: Accuracy | None
    networks: Accuracy | None
    by_kind: tuple[GroupAccuracy, ...]
    by_size: tuple[GroupAccuracy, ...]
    coverage: tuple[IntervalCoverage, ...]
    network_coverage: tuple[IntervalCoverage, ...]
    limits: tuple[str, ...]
    pairs: Pairs
    anchors: tuple[Anchor, ...]
    canary_us: float | None
    probe: ProbeFingerprint | None
    curve: tuple[LearningPoint, ...] = ()
    next: tuple[NextMeasurement, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A trained predictor with all that it was judged by.

    Attributes:
        graphs: the kernels of each sample.
        purposes: of each sample.
        chosen: marks the samples that accuracy is asked of, shape (samples,).
        guess_ms: what was predicted of each by a model that had not seen it, shape (samples,); NaN for nothing.
        fold: of each, as it was held out.
        spread: what the radius of each one's interval is multiplied by.
        networks: whole networks with their kernels.
        limits: what the predictor cannot do beside what the card finds out.
    """

    predictor: LatencyPredictor
    samples: Sequence[Sample]
    graphs: Sequence[Graph]
    purposes: Sequence[str]
    chosen: npt.NDArray[np.bool_]
    guess_ms: Floats
    fold: Ints
    spread: Floats
    networks: Sequence[tuple[Sample, Graph]]
    held_out: Accuracy | None
    floor: Accuracy | None
    flops_only: Accuracy | None
    limits: tuple[str, ...] = ()


def predictor_card(
    judged: Judged,
    profile: RuntimeProfile,
    data: TrainingData,
    around: Circumstances,
    *,
    metric: str = "latency",
    unit: str = "ms",
) -> ModelCard:
    """The card of a predictor of kernels."""
    predictor, chosen = judged.predictor, judged.chosen
    truth = np.array([sample.latency_ms for sample in judged.samples])
    guess, fold, spread = judged.guess_ms, judged.fold, judged.spread
    kinds = dominant_kinds(predictor, judged.graphs)
    inside = np.flatnonzero(chosen).tolist()
    errors = np.abs(np.log(guess / truth))
    known = chosen & np.isfinite(errors)
    left_out = left_out_networks(predictor, judged.networks)
    by_kind = _by_kind(guess[chosen], truth[chosen], [kinds[place] for place in inside])
    device = around.device
    return ModelCard(
        model="predictor",
        metric=metric,
        unit=unit,
        made_at=now(),
        versions=versions(),
        device={}
        if device is None
        else {"name": device.name, "identity": device.identity, "description": device.description},
        profile=profile.document(),
        profile_label=profile.label,
        environment=around.environment,
        data=data,
        held_out=judged.held_out,
        floor=judged.floor,
        floor_radius=repeatability_radius(judged.samples),
        flops_only=judged.flops_only,
        networks=None if left_out is None else accuracy(left_out.predicted_ms, left_out.measured_ms),
        by_kind=by_kind,
        by_size=by_size(guess[chosen], truth[chosen]),
        coverage=coverages(errors[known] / spread[known], fold[known]),
        network_coverage=() if left_out is None else coverages(left_out.scores, np.arange(len(left_out.scores))),
        limits=_limits(judged, kinds, by_kind, profile, data),
        pairs=thinned_pairs(guess, truth, kinds, [sample.workload.graph_hash for sample in judged.samples], spread),
        anchors=choose_anchors(judged.samples, kinds, judged.purposes),
        canary_us=around.canary_us,
        probe=around.probe,
    )


def now() -> str:
    """The present, as cards and predictors write it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of what made the model."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that nobody installed
            found[name] = "not installed"
    return found


def dominant_kinds(predictor: LatencyPredictor, graphs: Sequence[Graph]) -> list[str]:
    """Of each graph the kind of the kernel that takes most of its predicted latency."""
    found = []
    for price in predictor.price(graphs):
        most = max(price.kernels, key=lambda one: one.latency_ms or 0.0)
        found.append(kind_of(most.kernel) or most.kernel.op)
    return found


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Whole networks, each priced by a correction that was fitted on all others; arrays of shape (networks,).

    Attributes:
        scores: absolute log errors against the session that is furthest.
    """

    predicted_ms: Floats
    measured_ms: Floats
    scores: Floats


def left_out_networks(predictor: LatencyPredictor, networks: Sequence[tuple[Sample, Graph]]) -> LeftOut | None:
    """None with too few of them."""
    prices = predictor.price([graph for _, graph in networks])
    whole = [place for place, price in enumerate(prices) if not price.is_lower_bound]
    if not whole:
        return None
    measured = np.array([networks[place][0].latency_ms for place in whole])
    own = np.array([network_bytes(networks[place][1], predictor.core_cache_bytes_) for place in whole])
    predicted = held_out(np.array([prices[place].total_ms for place in whole]), own, measured)
    if predicted is None:
        return None
    return LeftOut(predicted, measured, furthest_errors(predicted, [networks[place][0].sessions_ms for place in whole]))


def coverages(scores: Floats, fold: Ints) -> tuple[IntervalCoverage, ...]:
    """What the intervals of each nominal coverage hold, each fold judged by the scores of the others."""
    return tuple(
        # Less a rounding error: 1 - 0.8 is a little below 0.2 in floating point.
        IntervalCoverage(nominal, cross_coverage(scores, fold, round(1 - nominal, 9)), len(scores))
        for nominal in NOMINAL
    )


def by_size(predicted: Floats, measured: Floats) -> tuple[GroupAccuracy, ...]:
    """Accuracy by decade of the measured value."""
    groups = []
    for low, high in pairwise(_DECADES_MS):
        rows = (measured >= low) & (measured < high)
        found = accuracy(predicted[rows], measured[rows])
        if found is not None:
            name = f"{low:g} ms and more" if math.isinf(high) else f"{low:g} to {high:g} ms"
            groups.append(GroupAccuracy(name, found))
    return tuple(groups)


def _by_kind(predicted: Floats, measured: Floats, kinds: Sequence[str]) -> tuple[GroupAccuracy, ...]:
    """The commonest first."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    found = ((kind, accuracy(predicted[rows], measured[rows])) for kind, rows in places.items())
    groups = [GroupAccuracy(kind, one) for kind, one in found if one is not None]
    return tuple(sorted(groups, key=lambda group: (-group.accuracy.n, group.name)))


def thinned_pairs(
    predicted: Floats, measured: Floats, kinds: Sequence[str], graphs: Sequence[str], spread: Floats | None = None
) -> Pairs:
    """Those that have a prediction, by measured value; of too many, evenly spaced ranks."""
    known = [place for place in np.argsort(measured, kind="stable").tolist() if math.isfinite(predicted[place])]
    if len(known) > PAIRS_MAX:
        known = [known[rank] for rank in np.linspace(0, len(known) - 1, PAIRS_MAX).astype(int).tolist()]
    return Pairs(
        graph=tuple(graphs[place][:HASH_LENGTH] for place in known),
        kind=tuple(kinds[place] for place in known),
        predicted=tuple(float(predicted[place]) for place in known),
        measured=tuple(float(measured[place]) for place in known),
        spread=tuple(1.0 if spread is None else float(spread[place]) for place in known),
    )


def _limits(
    judged: Judged,
    kinds: Sequence[str],
    by_kind: Sequence[GroupAccuracy],
    profile: RuntimeProfile,
    data: TrainingData,
) -> tuple[str, ...]:
    known = set(judged.predictor.kinds_)
    told = [*judged.limits]
    told.append(f"Kernels of other than its {len(known)} kinds have no price: a graph with one gets a lower bound.")
    unpredicted = int(np.isnan(judged.guess_ms).sum())
    if unpredicted:
        graphs = "1 graph" if unpredicted == 1 else f"{unpredicted} graphs"
        told.append(f"{graphs} had no prediction when held out, for no other graph has such a kernel.")
    missing = missing_kinds(known, profile)
    if missing:
        told.append(f"Nothing was measured of {', '.join(missing)}, which most networks have.")
    counts = Counter(kinds)
    thin = sorted(kind for kind in known if counts[kind] < _THIN)
    if thin:
        told.append(f"Fewer than {_THIN} graphs are mostly of the kind: {_few(thin)}.")
    wrong = [group for group in by_kind if group.accuracy.mape_percent > _WRONG_PERCENT]
    if wrong:
        ranked = sorted(wrong, key=lambda group: -group.accuracy.mape_percent)
        named = [f"{group.name} ({group.accuracy.mape_percent:.0f} %)" for group in ranked]
        told.append(f"Wrong by more than {_WRONG_PERCENT:.0f} % in the mean, held out: {_few(named)}.")
    latency = [sample.latency_ms for sample in judged.samples]
    told.append(f"Its graphs took {min(latency):.4g} to {max(latency):.4g} ms; beyond, it extrapolates and says so.")
    if not judged.predictor.network_scores_.size:
        told.append("No whole network was held out: the price of one is a sum of kernels without an interval.")
    if judged.floor is None:
        told.append("Nothing was measured twice: how well a measurement agrees with another one is not known.")
    if data.environments is not None and data.environments > 1:
        told.append(f"The measurements are from {data.environments} environments; the card shows the commonest.")
    return tuple(told)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
