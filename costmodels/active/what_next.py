"""What to measure next for a predictor: what most reduces the error of the prices that somebody asked for.

Of each space that a campaign was for, cells (``lut_survey``); of the networks that were measured and belong to none,
kernels; and kinds of kernels that most networks have. Nothing is trained and nothing measured: the trained predictor
prices, the model of errors says what a measurement is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from ...db import Store
from ...profiler.errors import EdgecostError
from ...profiler.kernels.graph import Kernel
from ...profiler.records import RuntimeProfile
from ..cards.growth import CELL, EXTRAPOLATED, KERNEL, KINDS, NOT_COVERED, UNCERTAIN, NextMeasurement
from ..dataset import Sample
from ..fitting import Fitted, Measured
from ..kernel_plan import missing_kinds
from ..kernel_work import kind_of
from ..predictor import LatencyPredictor
from ..prices import GraphPrice, KernelPrice
from ..space_file import load_space, plugin_space_names, space_names
from .error_model import ErrorSizes, choose, condition, prior_covariance, rough_ms
from .lut_error import noise_variance, process_sigma
from .lut_survey import LutSurvey

#: What is listed for each target.
_COUNT = 8
#: Spaces that are looked at, those of the newest campaigns, and cells of each: a hundred cells take the runtime about a
#: second to open.
_SPACES_MAX, _CELLS_MAX = 2, 200
#: Distinct kernels of networks that are weighed against each other, by their share, and measured graphs beside them.
_KERNELS_MAX, _RELATED_MAX = 300, 700
#: Share of a price by kernels outside the measured range from which it counts as extrapolated.
_MOSTLY = 0.5
#: Kinds that a reason names.
_NAMED = 3
NETWORKS = "the networks measured here"


@dataclass(eq=False)
class Surveys:
    """Spaces as a runtime opens them: one look serves every device of a profile."""

    _found: dict[tuple[str, str], LutSurvey | None] = field(default_factory=dict)

    def of(self, name: str, profile: RuntimeProfile, graphs: Mapping[str, Sequence[Kernel]]) -> LutSurvey | None:
        """None for a space that is too large, or that the runtime or this installation cannot open.

        Args:
            graphs: kernels by graph hash, as far as they are known.
        """
        key = (name, profile.profile_hash)
        if key not in self._found:
            self._found[key] = None
            with suppress(EdgecostError):
                space = load_space(name)
                if len(space.measurable) <= _CELLS_MAX:
                    self._found[key] = LutSurvey(space, profile, graphs=graphs)
        return self._found[key]


def what_next(store: Store, measured: Measured, fitted: Fitted, surveys: Surveys) -> tuple[NextMeasurement, ...]:
    """What would help most, target by target; of each the first is the best."""
    known = {*space_names(), *plugin_space_names()}
    newest = [one.space for one in reversed(store.campaigns()) if one.space in known]
    found: list[NextMeasurement] = list(_kinds(fitted.predictor, measured.profile))
    spaces = list(dict.fromkeys(newest))[:_SPACES_MAX]
    graphs = {sample.workload.graph_hash: graph for sample, graph in zip(measured.blocks, fitted.graphs, strict=True)}
    for name in spaces:
        survey = surveys.of(name, measured.profile, graphs)
        if survey is not None:
            found += _cells(name, survey, measured.blocks, fitted)
    others = [graph for sample, graph in fitted.networks if not sample.workload.name.startswith(_prefixes(spaces))]
    return (*found, *_kernels(others, measured.blocks, fitted))


def _prefixes(spaces: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}-" for name in spaces)


def _kinds(predictor: LatencyPredictor, profile: RuntimeProfile) -> list[NextMeasurement]:
    """Kinds that most networks have and of which nothing was measured."""
    missing = missing_kinds(predictor.kinds_, profile)
    if not missing:
        return []
    why = "most networks have some, and without one of its kind a kernel has no price"
    return [NextMeasurement(", ".join(missing), KINDS, "any network", "", NOT_COVERED, why, *[None] * 5)]


def _cells(name: str, survey: LutSurvey, samples: Sequence[Sample], fitted: Fitted) -> list[NextMeasurement]:
    knowledge = survey.after(samples, fitted.graphs, fitted.predictor)
    shares = knowledge.shares.mean(axis=0)
    chosen = survey.choose(knowledge, _COUNT)
    prices = fitted.predictor.price([survey.graphs[one.place] for one in chosen])
    return [
        _told(one.key, CELL, name, survey.hashes[one.place], price, float(shares[one.place]), one.gain)
        for one, price in zip(chosen, prices, strict=True)
    ]


def _kernels(networks: Sequence[Sequence[Kernel]], samples: Sequence[Sample], fitted: Fitted) -> list[NextMeasurement]:
    """Kernels of networks that nobody has measured alone."""
    predictor = fitted.predictor
    places = {kernel: place for place, kernel in enumerate(dict.fromkeys(one for graph in networks for one in graph))}
    if not places:
        return []
    kernels = list(places)
    prices = predictor.price([[kernel] for kernel in kernels])
    rough = np.array([price.total_ms or rough_ms(kernel) for kernel, price in zip(kernels, prices, strict=True)])
    uses = np.zeros((len(networks), len(kernels)))
    for row, graph in enumerate(networks):
        np.add.at(uses[row], [places[kernel] for kernel in graph], 1.0)
    shares = uses * rough
    shares /= shares.sum(axis=1, keepdims=True)
    # What can have no price is of no use measured.
    candidates = [
        place
        for place, kernel in enumerate(kernels)
        if kernel.kernel_hash not in predictor.known_ms_ and kind_of(kernel) is not None
    ]
    candidates = sorted(candidates, key=lambda place: -shares[:, place].mean())[:_KERNELS_MAX]
    lacking = [place for place in candidates if prices[place].is_lower_bound][:_COUNT]
    priced = [place for place in candidates if not prices[place].is_lower_bound]
    gains = _gains([kernels[place] for place in priced], shares[:, priced], samples, fitted, _COUNT - len(lacking))
    chosen: list[tuple[int, float | None]] = [(place, None) for place in lacking]
    chosen += [(priced[place], gain) for place, gain in gains]
    return [
        _told(kernels[place].signature, KERNEL, NETWORKS, "", prices[place], float(shares[:, place].mean()), gain)
        for place, gain in chosen
    ]


def _gains(
    kernels: Sequence[Kernel], shares: np.ndarray, samples: Sequence[Sample], fitted: Fitted, count: int
) -> list[tuple[int, float]]:
    """Which of the kernels to measure next, each with the share of the expected squared error that it takes away."""
    if not kernels:
        return []
    related = fitted.graphs[-_RELATED_MAX:]
    sigma = process_sigma(samples)
    noises = [noise_variance(sample, sigma) for sample in samples[-_RELATED_MAX:]]
    noise = np.array([*[float(np.median(noises))] * len(kernels), *noises])
    graphs = [*([kernel] for kernel in kernels), *related]
    prices = [
        [one.latency_ms or rough_ms(one.kernel) for one in price.kernels] for price in fitted.predictor.price(graphs)
    ]
    before = prior_covariance(graphs, prices, ErrorSizes())
    left = condition(before, range(len(kernels), len(graphs)), noise, range(len(kernels)))
    importance = shares.T @ shares / len(shares)
    return choose(left, importance, noise[: len(kernels)], range(len(kernels)), count)


def _told(
    subject: str, kind: str, target: str, graph: str, price: GraphPrice, share: float, gain: float | None
) -> NextMeasurement:
    """With the reason: what has no price, else what is outside the measured range, else how wide the interval is."""
    lacking = [one for one in price.kernels if one.source == "unsupported"]
    if lacking:
        why = f"nothing was measured of {_named(lacking)}: it has no price"
        return NextMeasurement(subject, kind, target, graph, NOT_COVERED, why, None, None, None, share, gain)
    beyond = [one for one in price.kernels if one.source == "predicted"]
    part = sum(one.latency_ms or 0.0 for one in beyond) / price.total_ms
    if part > _MOSTLY:
        reason, why = EXTRAPOLATED, f"{part * 100:.0f} % of it is beyond what was measured of {_named(beyond)}"
    elif price.hi_ms is None or price.lo_ms is None:
        reason, why = UNCERTAIN, "too few graphs were held out to say how far off it may be"
    else:
        reason, why = UNCERTAIN, f"its 90 % interval is ±{((price.hi_ms / price.lo_ms) ** 0.5 - 1) * 100:.0f} %"
    return NextMeasurement(
        subject, kind, target, graph, reason, why, price.total_ms, price.lo_ms, price.hi_ms, share, gain
    )


def _named(prices: Sequence[KernelPrice]) -> str:
    """Their kinds, the most expensive first."""
    costs: dict[str, float] = {}
    for one in prices:
        kind = kind_of(one.kernel) or one.kernel.op
        costs[kind] = costs.get(kind, 0.0) + (one.latency_ms or 0.0)
    kinds = sorted(costs, key=lambda kind: -costs[kind])
    more = f" and {len(kinds) - _NAMED} more kinds" if len(kinds) > _NAMED else ""
    return ", ".join(kinds[:_NAMED]) + more
