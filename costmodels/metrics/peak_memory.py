"""The peak memory predictor: physics of the whole graph, and trees on the ratio of what was measured to it.

    peak = (runtime + a × weights + b × live activations + c × kernels) × exp(trees)

Memory does not add up, so nothing is summed over kernels: the analytic estimate of the whole graph (``live_bytes``)
carries the size. A runtime holds more than that: its plan of the activations beside those of the first run, a packed
copy of some weights, a description of each kernel. Those are the costs; LightGBM learns what they leave.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, UsageError
from ...profiler.kernels.graph import Optimised
from ...profiler.records import Json
from ..composition import robust_costs
from ..conformal import conformal_radius
from ..files import write_atomically
from ..sealed_file import read_text, sealed_text
from ..work_rules.table import is_convolution, plain_name
from .live_bytes import LiveBytes, live_bytes, tensor_bytes
from .memory_format import FORMAT, REMEDY, SCHEMA_VERSION, read_content
from .metric import MEMORY, require_metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: In the order of the columns; bytes and counts as logarithms, shares of the analytic estimate as they are.
FEATURES = (
    *("total", "activations", "activation_share", "convolution_share", "product_share", "other_weight_share"),
    *("largest_weight", "largest_weight_share", "kernels", "constants", "written", "bytes_per_constant"),
)
#: What has a cost: the runtime itself, then millions of bytes, and kernels in hundreds.
TERMS = ("runtime", "weights", "activations", "kernels")
#: Folds by which the physics under the trees' residuals is that of networks it was not fitted on.
_INNER_FOLDS = 5
#: Fewest networks from which a predictor is trained.
NETWORKS_MIN = 10
_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "TransposeMatMul", "Attention", "QAttention"})
#: A hundred networks are small data: few leaves and slow steps.
_TREES = {
    "objective": "l2",
    "learning_rate": 0.05,
    "num_leaves": 4,
    "min_data_in_leaf": 5,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


@dataclass(frozen=True)
class MemoryShape:
    """What a graph tells of its memory: the analytic estimate, its kernels, and the trees' features in their order."""

    live: LiveBytes
    kernels: int
    features: tuple[float, ...]

    def terms(self) -> list[float]:
        """In the order of ``TERMS``."""
        return [1.0, self.live.weight_bytes / 1e6, self.live.activation_bytes / 1e6, self.kernels / 100]


@dataclass(frozen=True)
class MemoryPrice:
    """A predicted peak above a process that has opened the runtime and loaded nothing, in bytes.

    Attributes:
        lo_bytes, hi_bytes: the interval; None when too few held-out networks exist to give one.
        overhead_bytes: what the runtime takes for any first graph; part of the peak.
        source: ``interpolated``, or ``predicted`` where a feature is outside the range that was seen.
        live: the analytic estimate.
    """

    peak_bytes: int
    lo_bytes: int | None
    hi_bytes: int | None
    overhead_bytes: int
    source: str
    live: LiveBytes


def memory_shape(optimised: Optimised) -> MemoryShape:
    """The estimate and the features of an optimised graph."""
    live = live_bytes(optimised)
    readers = {name: node.op_type for node in optimised.nodes for name in node.input}
    weights: Counter[str] = Counter()
    for tensor in optimised.model.graph.initializer:
        weights[_family(readers.get(tensor.name, ""))] += tensor_bytes(tensor)
    total = max(1, live.total_bytes)
    constants = max(1, len(optimised.model.graph.initializer))
    features = (
        math.log(total),
        math.log(live.activation_bytes + 1),
        live.activation_bytes / total,
        *(weights[family] / total for family in ("convolution", "product", "other")),
        math.log(live.largest_weight_bytes + 1),
        live.largest_weight_bytes / total,
        math.log(max(1, len(optimised.nodes))),
        math.log(constants),
        math.log(live.written_bytes + 1),
        math.log(total / constants),
    )
    return MemoryShape(live, len(optimised.nodes), features)


def _family(operator: str) -> str:
    name = plain_name(operator)
    if is_convolution(operator):
        return "convolution"
    return "product" if name in _PRODUCTS else "other"


class PeakMemoryPredictor:
    """Predicts the peak memory of whole graphs on one device and profile.

    Args:
        rounds: boosting rounds.
        folds: folds of the cross-validation that calibrates the intervals.
        random_state: seed of folds and of LightGBM; equal seeds give equal models.

    Attributes set by ``fit``: ``costs_`` (megabytes of each term), ``booster_``, ``overhead_bytes_``, ``ranges_``
    (lowest and highest of each feature, shape (2, FEATURES)), ``scores_`` (absolute log errors on held-out networks),
    ``held_out_bytes_`` and ``fold_``.
    """

    def __init__(self, *, rounds: int = 150, folds: int = 10, random_state: int = 0) -> None:
        self.rounds = rounds
        self.folds = folds
        self.random_state = random_state

    def fit(self, shapes: Sequence[MemoryShape], peak_bytes: npt.ArrayLike, overhead_bytes: int) -> PeakMemoryPredictor:
        """Train on measured networks.

        Args:
            peak_bytes: shape (networks,), above ``overhead_bytes``.
            overhead_bytes: what the runtime takes for an empty graph, measured in the same way.

        Raises:
            UsageError: lengths differ, fewer than ``NETWORKS_MIN``, or a peak that is no number above the overhead.
        """
        measured = np.asarray(peak_bytes, dtype=np.float64)
        if measured.shape != (len(shapes),):
            raise UsageError(f"{len(shapes)} networks and {measured.shape} peaks do not match")
        if not np.all(np.isfinite(measured) & (measured > overhead_bytes)) or overhead_bytes < 0:
            raise UsageError("peaks must be finite and above what the runtime takes empty: leave out the others")
        if len(shapes) < max(NETWORKS_MIN, self.folds):
            raise UsageError(
                f"the peak memory of {len(shapes)} networks is too few to train on; {NETWORKS_MIN} is the least",
                remedy="measure more: edgecost campaign memory --reference --space NAME",
            )
        features, terms = _matrix(shapes), _terms(shapes)
        self.fold_: Ints = _folds(len(shapes), self.folds, self.random_state)
        self.held_out_bytes_: Floats = np.empty(len(shapes))
        for number in range(self.folds):
            inside, outside = self.fold_ != number, self.fold_ == number
            costs, booster = self._fit_model(features[inside], terms[inside], measured[inside])
            self.held_out_bytes_[outside] = _peaks(costs, booster, features[outside], terms[outside])
        self.scores_: Floats = np.sort(np.abs(np.log(self.held_out_bytes_ / measured)))
        self.costs_, self.booster_ = self._fit_model(features, terms, measured)
        self.ranges_: Floats = np.array([features.min(axis=0), features.max(axis=0)])
        self.overhead_bytes_ = overhead_bytes
        return self

    def price(self, shapes: Sequence[MemoryShape], *, alpha: float = 0.1) -> list[MemoryPrice]:
        """Predict, with the interval that covers the measured peak with probability ``1 - alpha``.

        Split-conformal with cross-validated scores (Vovk, Annals of Mathematics and AI 74, 2015): it holds for networks
        like those it was trained on.

        Raises:
            UsageError: ``fit`` was not called, or ``alpha`` does not lie between 0 and 1.
        """
        if not hasattr(self, "booster_"):
            raise UsageError("this predictor knows nothing yet", remedy="call fit() first, or load()")
        if not shapes:
            return []
        radius = conformal_radius(self.scores_, alpha)
        features = _matrix(shapes)
        peaks = _peaks(self.costs_, self.booster_, features, _terms(shapes))
        known = np.all((features >= self.ranges_[0]) & (features <= self.ranges_[1]), axis=1)
        bounded = math.isfinite(radius)
        return [
            MemoryPrice(
                peak_bytes=round(peak),
                lo_bytes=round(peak * math.exp(-radius)) if bounded else None,
                hi_bytes=round(peak * math.exp(radius)) if bounded else None,
                overhead_bytes=self.overhead_bytes_,
                source="interpolated" if inside and shape.live.is_complete else "predicted",
                live=shape.live,
            )
            for shape, peak, inside in zip(shapes, peaks.tolist(), known.tolist(), strict=True)
        ]

    def _fit_model(self, features: Floats, terms: Floats, measured: Floats) -> tuple[Floats, lgb.Booster]:
        """Costs of the terms in megabytes, and trees on the ratio to costs that had not seen the network."""
        fold = _folds(len(measured), _INNER_FOLDS, self.random_state)
        honest = np.empty(len(measured))
        for number in range(_INNER_FOLDS):
            costs = _costs(terms[fold != number], measured[fold != number])
            honest[fold == number] = _physics(costs, terms[fold == number])
        rows = lgb.Dataset(features, label=np.log(measured / honest), feature_name=list(FEATURES))
        trees = lgb.train({**_TREES, "seed": self.random_state}, rows, num_boost_round=self.rounds)
        return _costs(terms, measured), trees

    def save(self, folder: Path, provenance: Mapping[str, Json]) -> None:
        """Write LightGBM's own text and a JSON that holds the rest, last: a broken write is never taken for a model.

        Raises:
            OutputError: the folder cannot be written.
        """
        text = self.booster_.model_to_string()
        content: dict[str, Json] = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "features": list(FEATURES),
            "parameters": {"rounds": self.rounds, "folds": self.folds, "random_state": self.random_state},
            "overhead_bytes": self.overhead_bytes_,
            "megabytes_by_term": dict(zip(TERMS, self.costs_.tolist(), strict=True)),
            "ranges": self.ranges_.tolist(),
            "held_out_log_errors": self.scores_.tolist(),
            "booster_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "provenance": {**provenance, "metric": MEMORY.name, "unit": MEMORY.unit},
        }
        described = sealed_text(content)
        write_atomically(folder / "booster.txt", text)
        write_atomically(folder / "predictor.json", described)

    @classmethod
    def load(cls, folder: Path) -> tuple[PeakMemoryPredictor, dict[str, Json]]:
        """Read a predictor and its provenance.

        Raises:
            ArtefactError: missing, truncated, changed, of another metric, or written with a schema that is not known.
        """
        require_metric(folder, MEMORY.name)
        path = folder / "predictor.json"
        content = read_content(folder)
        text = read_text(folder / "booster.txt", REMEDY)
        if hashlib.sha256(text.encode()).hexdigest() != content["booster_sha256"]:
            raise ArtefactError(f"{folder / 'booster.txt'} was changed after it was written", remedy=REMEDY)
        if content["features"] != list(FEATURES):
            raise ArtefactError(f"{path} was trained on other features", remedy=REMEDY)
        parameters, overhead, costs = (content[name] for name in ("parameters", "overhead_bytes", "megabytes_by_term"))
        provenance = content["provenance"]
        if (
            not isinstance(parameters, dict)
            or not isinstance(overhead, int)
            or not isinstance(costs, dict)
            or list(costs) != list(TERMS)
            or not isinstance(provenance, dict)
        ):
            raise ArtefactError(f"{path} lacks what a predictor consists of", remedy=REMEDY)
        found = cls(**{name: value for name, value in parameters.items() if isinstance(value, int)})
        found.overhead_bytes_ = overhead
        found.costs_ = np.array(list(costs.values()), dtype=np.float64)
        found.ranges_ = np.array(content["ranges"], dtype=np.float64)
        found.scores_ = np.array(content["held_out_log_errors"], dtype=np.float64)
        found.booster_ = lgb.Booster(model_str=text)
        return found, provenance


def _matrix(shapes: Sequence[MemoryShape]) -> Floats:
    return np.array([shape.features for shape in shapes], dtype=np.float64).reshape(len(shapes), len(FEATURES))


def _terms(shapes: Sequence[MemoryShape]) -> Floats:
    return np.array([shape.terms() for shape in shapes], dtype=np.float64).reshape(len(shapes), len(TERMS))


def _folds(count: int, folds: int, seed: int) -> Ints:
    fold = np.empty(count, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    return fold


def _costs(terms: Floats, measured: Floats) -> Floats:
    """Non-negative least squares of the relative error, in which single networks far off count for less."""
    return robust_costs(terms / (measured / 1e6)[:, None])


def _physics(costs: Floats, terms: Floats) -> Floats:
    """Bytes; at least one: where all costs vanish there is still a logarithm."""
    peaks: Floats = np.maximum(terms @ costs * 1e6, 1.0)
    return peaks


def _peaks(costs: Floats, trees: lgb.Booster, features: Floats, terms: Floats) -> Floats:
    ratio = np.asarray(trees.predict(features, num_threads=1), dtype=np.float64)
    return _physics(costs, terms) * np.exp(ratio)
