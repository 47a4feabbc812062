"""The latency predictor: kernels → roofline × trees → sums, with intervals that were checked on graphs it had not seen.

Saving and loading stand in ``predictor_file.py``; what the numbers are worth in ``validation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..profiler.errors import GateError, UsageError
from ..profiler.kernels.graph import Kernel
from .composition import FIT_MIN, Composition, fit_composition, held_out, network_bytes, own_bytes
from .conformal import conformal_radius, furthest_errors
from .error_spread import Spread, fit_spread, judged_spread, tells_apart
from .features import FEATURES, WORK, feature_matrix, work_matrix
from .kernel_work import class_of, kind_among, kind_of, no_price
from .prices import GraphPrice, KernelPrice, scaled, summed
from .roofline import Roofline, fit_roofline
from .training_size import is_large, split_large
from .trees.boosting import HERE, BoostingSettings, Trainer, tree_scores
from .trees.stored_trees import StoredTrees

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Graph = Sequence[Kernel]

#: Fewest graphs from which a predictor is trained: below this the folds of the interval hold one or two graphs each.
GRAPHS_MIN = 10
#: Fewest whole networks from which what a network takes beyond the sum of its kernels is fitted.
NETWORKS_MIN = FIT_MIN
#: Of 1,394 kernels nine tenths were measured in two processes so close to each other, in logarithms: what was measured
#: alone is known no better.
MEASURED_RADIUS = 0.04


class LatencyPredictor:
    """Predicts the latency of graphs from the kernels they become. scikit-learn manners, without scikit-learn.

    Args:
        rounds: boosting rounds. 600 of 16 leaves price some 4 % more of 1,400 kernels within 10 % than 300 of 8
            (cross-validated), and the cells of a space better too.
        learning_rate: shrinkage of each round.
        leaves: leaves of each tree.
        folds: folds of the cross-validation that calibrates the intervals, split by whole graph.
        random_state: seed of folds and of LightGBM; equal seeds give equal models.

    Attributes set by ``fit``: ``known_ms_`` (latency of each kernel that was measured alone, by its hash),
    ``roofline_``, ``booster_``, ``kinds_``, ``ranges_`` (lowest and highest value of each feature by kind),
    ``spread_`` (how far each kernel's price may be off), ``scores_`` (absolute log errors on held-out graphs, over
    their spread, ascending), ``composition_`` and ``network_scores_`` (None, empty without whole networks; by the
    furthest session of each),
    ``core_cache_bytes_``, ``held_out_ms_`` (prediction of each training graph by a model that had not seen it; NaN
    for those that none judged), ``held_out_spread_`` (of each, by trees that had not seen its error) and ``fold_``
    (-1 for those). Of more kernels than ``training_size`` lets train, a part trains and another part judges.
    """

    def __init__(
        self,
        *,
        rounds: int = 600,
        learning_rate: float = 0.05,
        leaves: int = 16,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.rounds, self.learning_rate, self.leaves = rounds, learning_rate, leaves
        self.folds, self.random_state = folds, random_state

    def get_params(self, deep: bool = True) -> dict[str, int | float]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in ("rounds", "learning_rate", "leaves", "folds", "random_state")}

    def set_params(self, **params: int | float) -> LatencyPredictor:
        """Change constructor arguments; raises UsageError for a name that is none."""
        for name, value in params.items():
            if name not in self.get_params():
                raise UsageError(f"LatencyPredictor has no parameter {name!r}; it has {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def fit(
        self,
        graphs: Sequence[Graph],
        latency_ms: npt.ArrayLike,
        *,
        is_network: Sequence[bool] | None = None,
        sessions_ms: Sequence[Sequence[float]] | None = None,
        core_cache_bytes: int | None = None,
        trainer: Trainer = HERE,
    ) -> LatencyPredictor:
        """Train on measured graphs.

        Args:
            graphs: the kernels of each graph (``profiler.kernels.kernels``).
            latency_ms: shape (graphs,), positive: net latency, without the runtime's call overhead.
            is_network: marks whole networks. They do not train the kernels (in a network caches are colder) but fit
                what a network takes beyond their sum (``composition``). Those with a kernel that has no price take no
                part.
            sessions_ms: what each graph was measured at in each of its processes, positive; None for once. Intervals of
                networks are to hold in all of them.
            core_cache_bytes: second-level cache of the device; None where it is not known.
            trainer: what boosts, where there are too many graphs for folds; of fewer it is done here.

        Raises:
            UsageError: lengths differ, latencies are not positive and finite, fewer than ``GRAPHS_MIN`` graphs, a graph
                without kernels or with one that can have no price, or constructor arguments that cannot work.
        """
        measured = _floats(latency_ms)
        network = np.zeros(len(graphs), dtype=bool) if is_network is None else np.asarray(is_network, dtype=bool)
        sessions = [[one] for one in measured.tolist()] if sessions_ms is None else sessions_ms
        self._check(graphs, measured, network, sessions)
        blocks = [graph for graph, whole in zip(graphs, network, strict=True) if not whole]
        target = measured[~network]
        self.core_cache_bytes_ = core_cache_bytes
        self.features_: tuple[str, ...] = FEATURES
        self.known_ms_: dict[str, float] = {}
        if is_large([len(graph) for graph in blocks]):
            self.held_out_ms_, self.fold_ = self._fit_part(blocks, target, trainer)
        else:
            self.held_out_ms_, self.fold_ = self._cross_validate(blocks, target)
            self._fit_model(blocks, target)
        self._fit_spread(blocks, target)
        self.known_ms_ = _measured_alone(blocks, target)
        wholes = np.flatnonzero(network).tolist()
        self._fit_composition(
            [graphs[place] for place in wholes], measured[network], [sessions[place] for place in wholes]
        )
        return self

    def predict(self, graphs: Sequence[Graph], *, network: bool = False) -> Floats:
        """Net latency in milliseconds, shape (graphs,).

        Args:
            network: add what a whole network takes beyond the sum, where ``fit`` was given enough of them.

        Raises:
            UsageError: ``fit`` was not called.
            GateError: a graph holds a kernel that cannot be priced; ``price`` gives the lower bound instead.
        """
        prices = self.price(graphs, network=network)
        for price in prices:
            if price.is_lower_bound:
                missing = sorted({p.kernel.op for p in price.kernels if p.source == "unsupported"})
                raise GateError(
                    f"no price for {', '.join(missing)}: nothing of the kind was measured",
                    remedy="measure a graph that holds it, or take the lower bound from price()",
                )
        return np.array([price.total_ms for price in prices], dtype=np.float64)

    def predict_interval(self, graphs: Sequence[Graph], *, alpha: float = 0.1, network: bool = False) -> Floats:
        """Interval that covers the measured latency with probability ``1 - alpha``, shape (graphs, 2), milliseconds.

        NaN where too few graphs were held out to give one. Split-conformal with cross-validated scores (Vovk, Annals of
        Mathematics and AI 74, 2015): it holds for graphs like the training graphs; a graph outside their range gets no
        guarantee, and ``price`` says so by its sources.
        """
        prices = self.price(graphs, alpha=alpha, network=network)
        return np.array([(one.lo_ms, one.hi_ms) for one in prices], dtype=np.float64).reshape(len(prices), 2)

    def price(self, graphs: Sequence[Graph], *, alpha: float = 0.1, network: bool = False) -> list[GraphPrice]:
        """Price every kernel of every graph, and say where each number comes from.

        Raises:
            UsageError: ``fit`` was not called, or ``alpha`` does not lie between 0 and 1.
        """
        if not hasattr(self, "booster_"):
            raise UsageError("this predictor knows nothing yet", remedy="call fit() first, or load_predictor()")
        # The errors of blocks say nothing about a network's: without networks there is no interval for one.
        whole = conformal_radius(self.network_scores_, alpha) if network else None
        kernels = [kernel for graph in graphs for kernel in graph]
        priced = iter(self._price_kernels(kernels, conformal_radius(self.scores_, alpha)))
        sums = ([next(priced) for _ in graph] for graph in graphs)
        return [summed(self._composed(prices) if network else prices, whole) for prices in sums]

    def spread_of(self, kernels: Sequence[Kernel]) -> Floats:
        """What the radius of an interval is multiplied by for each kernel, shape (kernels,); NaN without a price."""
        found = np.full(len(kernels), np.nan)
        known = [place for place, kind in enumerate(self._kinds_of(kernels)) if kind in self.ranges_]
        if known:
            chosen = [kernels[place] for place in known]
            found[known] = self._spreads(chosen, self._features(chosen))
        return found

    def _spreads(self, kernels: Sequence[Kernel], features: Floats) -> Floats:
        """As expected from the held-out errors; of what was measured alone, as measurements repeat."""
        usual = conformal_radius(self.scores_, 0.1)
        measured = MEASURED_RADIUS / usual if math.isfinite(usual) and usual > 0 else 1.0
        spread = self.spread_.of(features)
        return np.where(self._is_measured(kernels), np.minimum(spread, measured), spread)

    def _is_measured(self, kernels: Sequence[Kernel]) -> npt.NDArray[np.bool_]:
        known = self.known_ms_
        return np.array([bool(known) and kernel.kernel_hash in known for kernel in kernels], dtype=bool)

    def _check(
        self,
        graphs: Sequence[Graph],
        measured: Floats,
        network: npt.NDArray[np.bool_],
        sessions: Sequence[Sequence[float]],
    ) -> None:
        if measured.shape != (len(graphs),) or network.shape != (len(graphs),):
            raise UsageError(f"{len(graphs)} graphs, {measured.shape} latencies and {network.shape} marks do not match")
        if len(sessions) != len(graphs) or not all(map(len, sessions)):
            raise UsageError(f"{len(graphs)} graphs need as many lists of sessions, none of them empty")
        every = np.array([value for values in sessions for value in values], np.float64)
        if not np.all(np.isfinite(measured) & (measured > 0)) or not np.all(np.isfinite(every) & (every > 0)):
            raise UsageError("latencies must be positive and finite: leave out what could not be measured")
        if min(self.folds, self.leaves) < 2 or self.rounds < 1 or not 0 < self.learning_rate <= 1:
            raise UsageError(
                f"no model can be made with {self.get_params()}",
                remedy="at least 2 folds, 1 round and 2 leaves, and a learning rate above 0 and up to 1",
            )
        if not all(len(graph) for graph in graphs):
            raise UsageError("a graph without kernels has no price to learn: leave it out")
        least = max(GRAPHS_MIN, self.folds)
        if (~network).sum() < least:
            raise UsageError(
                f"{(~network).sum()} measured graphs are too few to train on; {least} is the least",
                remedy="measure more: edgecost campaign run --space …",
            )

    def _cross_validate(self, graphs: Sequence[Graph], latency_ms: Floats) -> tuple[Floats, Ints]:
        """Predict each graph by a model of the other folds; NaN where the others hold no kernel of its kinds."""
        order = np.random.default_rng(self.random_state).permutation(len(graphs))
        fold = np.empty(len(graphs), dtype=np.int64)
        fold[order] = np.arange(len(graphs)) % self.folds
        held_out = np.full(len(graphs), np.nan)
        for number in range(self.folds):
            inside, outside = (np.flatnonzero(rows).tolist() for rows in (fold != number, fold == number))
            model = self.of_these([graphs[i] for i in inside], latency_ms[inside])
            for place, price in zip(outside, model.price([graphs[i] for i in outside]), strict=True):
                held_out[place] = np.nan if price.is_lower_bound else price.total_ms
        return held_out, fold

    def of_these(self, graphs: Sequence[Graph], latency_ms: Floats) -> LatencyPredictor:
        """A model with the same settings of some graphs only, which prices, and knows nothing of its errors."""
        model = LatencyPredictor().set_params(**self.get_params())
        model.core_cache_bytes_, model.features_, model.known_ms_ = self.core_cache_bytes_, self.features_, {}
        model._fit_model(graphs, latency_ms)
        model._know_nothing_of_errors()
        return model

    def _know_nothing_of_errors(self) -> None:
        self.spread_: Spread = Spread()
        self.scores_: Floats = np.zeros(1)
        self.composition_: Composition | None = None
        self.network_scores_: Floats = np.zeros(0)

    def _fit_model(self, graphs: Sequence[Graph], latency_ms: Floats, trainer: Trainer = HERE) -> None:
        kernels = [kernel for graph in graphs for kernel in graph]
        names = _kinds(kernels)
        graph = np.repeat(np.arange(len(graphs)), [len(g) for g in graphs])
        work = work_matrix(kernels, self.core_cache_bytes_)
        classes = [class_of(kernel) for kernel in kernels]
        self.roofline_: Roofline = fit_roofline(names, work, graph, latency_ms, classes)
        self.kinds_: tuple[str, ...] = self.roofline_.kinds
        features = self._features(kernels)
        settings = BoostingSettings(rounds=self.rounds, learning_rate=self.learning_rate, leaves=self.leaves)
        self.booster_: lgb.Booster | StoredTrees = trainer.boost(
            features, self.roofline_.price(names, work), graph, latency_ms, settings, self.random_state
        )
        kinds = np.array(names)
        self.ranges_: dict[str, Floats] = {
            kind: np.array([rows.min(axis=0), rows.max(axis=0)])
            for kind in self.kinds_
            for rows in [features[kinds == kind, 1:]]
        }

    def _fit_spread(self, graphs: Sequence[Graph], latency_ms: Floats) -> None:
        """From the held-out predictions: how far off which kernels are, and the scores of the intervals."""
        self._know_nothing_of_errors()
        judged = np.flatnonzero(np.isfinite(self.held_out_ms_))
        self.held_out_spread_: Floats = np.ones(len(graphs))
        kernels = [kernel for place in judged.tolist() for kernel in graphs[place]]
        graph = np.repeat(np.arange(len(judged)), [len(graphs[place]) for place in judged.tolist()])
        errors = np.abs(np.log(self.held_out_ms_[judged] / latency_ms[judged]))
        if tells_apart(errors):
            prices = np.array([price.latency_ms for price in self._price_kernels(kernels, math.inf)], np.float64)
            features, fold = self._features(kernels), self.fold_[judged]
            spread = judged_spread(features, prices, graph, errors, fold, self.random_state)
            self.held_out_spread_[judged] = spread
            share = prices / np.bincount(graph, prices)[graph]
            self.spread_ = fit_spread(features, share, graph, errors, self.random_state)
            errors = errors / spread
        self.scores_ = np.sort(errors)

    def _fit_composition(
        self, graphs: Sequence[Graph], latency_ms: Floats, sessions_ms: Sequence[Sequence[float]]
    ) -> None:
        prices = self.price(graphs)
        whole = [place for place, price in enumerate(prices) if not price.is_lower_bound]
        if len(whole) < NETWORKS_MIN:
            return
        sums = np.array([prices[place].total_ms for place in whole])
        own = np.array([network_bytes(graphs[place], self.core_cache_bytes_) for place in whole])
        measured = latency_ms[whole]
        self.composition_ = fit_composition(sums, own, measured)
        others = held_out(sums, own, measured)
        if others is not None:
            # What anybody compares a price with is one session: the furthest counts, not their median.
            self.network_scores_ = np.sort(furthest_errors(others, [sessions_ms[place] for place in whole]))

    def _fit_part(self, graphs: Sequence[Graph], latency_ms: Floats, trainer: Trainer) -> tuple[Floats, Ints]:
        """Train on a part of many graphs and predict another; NaN, and fold -1, for those that are not judged."""
        split = split_large([_kinds(graph) for graph in graphs], self.random_state, trainer.kernels_max)
        self._fit_model([graphs[i] for i in split.trained.tolist()], latency_ms[split.trained], trainer)
        self._know_nothing_of_errors()
        held_out, fold = np.full(len(graphs), np.nan), np.full(len(graphs), -1, dtype=np.int64)
        fold[split.judged] = np.arange(len(split.judged)) % self.folds
        held_out[split.judged] = [price.total_ms for price in self.price([graphs[i] for i in split.judged.tolist()])]
        return held_out, fold

    def _composed(self, prices: Sequence[KernelPrice]) -> list[KernelPrice]:
        """The kernels' prices within their network: each with its share of what the cache does not hold."""
        if self.composition_ is None:
            return list(prices)
        own = own_bytes([price.kernel for price in prices], self.core_cache_bytes_)
        sums = np.array([price.latency_ms or 0.0 for price in prices])
        composed = self.composition_.compose(sums, own, weights_bytes=own[:, 0].sum()).tolist()
        return [
            price if price.latency_ms is None else scaled(price, latency_ms)
            for price, latency_ms in zip(prices, composed, strict=True)
        ]

    def _features(self, kernels: Sequence[Kernel]) -> Floats:
        """The kind, as its place among those known, and the features that this predictor was trained on."""
        place = {kind: float(index) for index, kind in enumerate(self.kinds_)}
        columns = [FEATURES.index(name) for name in self.features_]
        kinds = [place[kind] for kind in self._kinds_of(kernels) if kind is not None]
        return np.column_stack([kinds, feature_matrix(kernels)[:, columns]])

    def _kinds_of(self, kernels: Sequence[Kernel]) -> list[str | None]:
        """Under the names that this predictor was trained with."""
        known = frozenset(self.kinds_)
        return [kind_among(kernel, known) for kernel in kernels]

    def _price_kernels(self, kernels: Sequence[Kernel], radius: float) -> list[KernelPrice]:
        kinds = self._kinds_of(kernels)
        known = [place for place, kind in enumerate(kinds) if kind in self.ranges_]
        prices = [KernelPrice(kernel, None, "unsupported") for kernel in kernels]
        if not known:
            return prices
        chosen = [kernels[place] for place in known]
        names = [kind for kind in kinds if kind is not None and kind in self.ranges_]
        features = self._features(chosen)
        terms = [WORK.index(name) for name in self.roofline_.terms]
        work = work_matrix(chosen, self.core_cache_bytes_)[:, terms]
        latency = self.roofline_.price(names, work) * np.exp(tree_scores(self.booster_, features))
        measured = self._is_measured(chosen)
        reach = np.exp(radius * self._spreads(chosen, features)) if math.isfinite(radius) else None
        for row, (place, name) in enumerate(zip(known, names, strict=True)):
            low, high = self.ranges_[name]
            inside = bool(np.all((features[row, 1:] >= low) & (features[row, 1:] <= high)))
            cost, source = float(latency[row]), "interpolated" if inside else "predicted"
            if measured[row]:
                cost, source = self.known_ms_[kernels[place].kernel_hash], "measured"
            prices[place] = KernelPrice(
                kernels[place],
                cost,
                source,
                lo_ms=None if reach is None else cost / float(reach[row]),
                hi_ms=None if reach is None else cost * float(reach[row]),
            )
        return prices


def _kinds(kernels: Sequence[Kernel]) -> list[str]:
    """Of kernels that train; raises UsageError for one that can have no price."""
    kinds = []
    for kernel in kernels:
        kind = kind_of(kernel)
        if kind is None:
            raise UsageError(f"a training graph has a kernel without a price, {kernel.signature}: {no_price(kernel)}")
        kinds.append(kind)
    return kinds


def _floats(values: npt.ArrayLike) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"latencies must be numbers: {error}") from error


def _measured_alone(graphs: Sequence[Graph], latency_ms: Floats) -> dict[str, float]:
    """Median by kernel over the graphs that are that kernel, once or as copies."""
    found: dict[str, list[float]] = {}
    for graph, latency in zip(graphs, latency_ms.tolist(), strict=True):
        if len(set(graph)) == 1:
            found.setdefault(graph[0].kernel_hash, []).append(latency / len(graph))
    return {name: float(np.median(values)) for name, values in found.items()}
