"""Learn a device on a space of networks: what others say, which networks to measure, the fit, and what it is worth.

prospect = look_ahead(space, known, samples, budget=20, narrator=talk, cache=folder)
measure_plan(store, setting, prospect, talk)
onboarding = learn(prospect, *measured_networks(store, identity, profile, names), talk)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...db import Store
from ...profiler.errors import GateError
from ...profiler.protocol import Settings
from ...profiler.workload import Workload
from ..campaign import Planned
from ..local_setting import LocalSetting
from ..planned_campaign import CampaignOutcome, Narrator, measure_planned
from ..space_models.efficiency import Curve, EfficiencyReport, efficiency_report, learning_curves
from ..space_models.experts import Beliefs, FewShotModel, prepare
from ..space_models.lattice_prior import SOURCES_MIN
from ..space_models.plan import predicted_latency
from ..space_models.space_model import SpaceModel
from .arch_space import Archs, ArchSpace
from .known import KnownDevice
from .sources import Pool, train_sources
from .verdict import Verdict, judge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Fewest measured networks that a device is learnt from.
SAMPLES_MIN = 5
#: Most that the Bayesian table takes: its cost is cubic, and beyond this the space's own predictor is the better one.
SAMPLES_MAX = 150
#: Known devices whose learning curves are drawn: each takes a second or two.
CURVES_MAX = 6
#: Times that a plan is widened because two of its cells turned out to be one network.
_WIDENED_MAX = 3


@dataclass(frozen=True, eq=False)
class Prospect:
    """What is known before the new device is measured.

    Attributes:
        models: the predictor behind each source of the fleet.
        plan: rows of the pool to measure, in order; no two are the same network.
        built: their graphs.
        relative: shape (planned,), their latency as the known devices expect it, 1 for the middle of the space.
        seconds: what the steps took.
    """

    space: ArchSpace
    pool: Pool
    beliefs: Beliefs
    models: tuple[SpaceModel, ...]
    strategy: str
    plan: Ints
    built: tuple[Workload, ...]
    relative: Floats
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Onboarding:
    """A device that was learnt.

    Attributes:
        samples: architectures, shape (samples, places), and their latencies.
        planned_measured: how many of the planned networks are among them.
        spread_percent: error of guessing the median of the other samples: what a model has to beat.
        width_percent: median over the space of half the 90 % interval, in per cent of the prediction.
        efficiency: what more samples would bring, and ``curves`` behind it, a curve for each known device.
    """

    prospect: Prospect
    model: FewShotModel
    samples: Archs
    latency_ms: Floats
    planned_measured: int
    loo_error_percent: float
    spread_percent: float
    width_percent: float
    verdict: Verdict
    efficiency: EfficiencyReport
    curves: tuple[Curve, ...]
    seconds: dict[str, float]


def look_ahead(
    space: ArchSpace,
    known: Sequence[KnownDevice],
    measured: Archs,
    narrator: Narrator,
    *,
    budget: int,
    cache: Path | None,
    seed: int = 0,
) -> Prospect:
    """Train the known devices' predictors, learn from them how devices differ, and plan.

    Args:
        measured: architectures that the new device has measured already, shape (networks, places).
        budget: networks to plan; 0 plans none, for a device that was measured already.

    Raises:
        UsageError: a budget that the space does not have, or a known device that teaches nothing.
    """
    clock = _Clock()
    pool = Pool.of(space, [measured, *(device.archs for device in known)])
    fleet, models = train_sources(known, pool, narrator, cache=cache, seed=seed)
    clock.lap("sources")
    narrator.stage("learning how the known devices differ")
    beliefs = prepare(fleet, seed=seed)
    clock.lap("prior")
    strategy, rows = "none", np.zeros(0, dtype=np.int64)
    built: list[Workload] = []
    if budget:
        strategy, rows, built = _plan(space, pool, beliefs, budget, seed)
    clock.lap("plan")
    expected = predicted_latency(fleet)
    relative = expected[rows] / np.median(expected[fleet.typical])
    return Prospect(space, pool, beliefs, models, strategy, rows, tuple(built), relative, clock.seconds)


def _plan(space: ArchSpace, pool: Pool, beliefs: Beliefs, budget: int, seed: int) -> tuple[str, Ints, list[Workload]]:
    """Rows whose networks differ: two cells may be one network once nothing of them is left unused."""
    asked = budget
    for _ in range(_WIDENED_MAX):
        plan = beliefs.plan(asked, pool=pool.offered, seed=seed)
        distinct: dict[str, tuple[int, Workload]] = {}
        for row in plan.rows.tolist():
            workload = space.build(pool.archs[row])
            distinct.setdefault(workload.graph_hash, (row, workload))
        if len(distinct) >= budget:
            break
        asked = min(2 * asked, len(pool.offered) // 2)
    chosen = list(distinct.values())
    if plan.strategy == "stratified":
        # Its rows ascend in expected latency: a beginning of them would be the fast ones only.
        chosen = [
            chosen[place] for place in np.linspace(0, len(chosen) - 1, min(budget, len(chosen))).round().astype(int)
        ]
    rows = np.array([row for row, _ in chosen[:budget]], dtype=np.int64)
    return plan.strategy, rows, [workload for _, workload in chosen[:budget]]


def measure_plan(
    store: Store, setting: LocalSetting, prospect: Prospect, narrator: Narrator, *, seed: int = 0
) -> CampaignOutcome:
    """Measure the planned networks here; what the store has is reused, and after an interruption it goes on."""
    wanted = [
        Planned(workload, "network", workload.name, priority=len(prospect.built) - place)
        for place, workload in enumerate(prospect.built)
    ]
    name = f"onboard-{prospect.space.name}-{setting.profile.profile_hash[:8]}"
    return measure_planned(
        store,
        setting,
        name,
        prospect.space.name,
        wanted,
        narrator,
        "measuring whole networks",
        settings=Settings(seed=seed),
    )


def learn(prospect: Prospect, samples: Archs, latency_ms: Floats, narrator: Narrator, *, seed: int = 0) -> Onboarding:
    """Fit the device and say what the fit is worth.

    Args:
        samples: architectures that the device measured, shape (samples, places); they must be in the pool. Degenerate
            ones are left out, and of more than ``SAMPLES_MAX`` a seeded choice, the planned ones first.
        latency_ms: shape (samples,).

    Raises:
        GateError: fewer than ``SAMPLES_MIN`` samples.
    """
    clock = _Clock()
    narrator.stage("fitting")
    rows = prospect.pool.rows(samples)
    kept = _chosen(prospect, rows, seed)
    if len(kept) < SAMPLES_MIN:
        raise GateError(
            f"{len(kept)} measured networks are too few to learn a device from; {SAMPLES_MIN} is the least",
            remedy="see what happened: edgecost db info --failures; or ask for more: --budget 20",
        )
    rows, latency_ms = rows[kept], latency_ms[kept]
    model = prospect.beliefs.fit(rows, latency_ms)
    clock.lap("fit")
    narrator.stage("asking what more samples would bring")
    curves: tuple[Curve, ...] = ()
    if len(prospect.beliefs.fleet.sources) >= SOURCES_MIN:
        curves = learning_curves(prospect.beliefs, names=_alike(model), seed=seed)
    efficiency = efficiency_report(model, curves)
    clock.lap("report")
    low, high = model.predict_interval_ms(0.1)[model.fleet.typical].T
    width = float(np.median((high - low) / 2 / model.predict_ms()[model.fleet.typical])) * 100
    spread = _spread_percent(latency_ms)
    error = model.loo_error_percent()
    return Onboarding(
        prospect=prospect,
        model=model,
        samples=samples[kept],
        latency_ms=latency_ms,
        planned_measured=int(np.isin(prospect.plan, rows).sum()),
        loo_error_percent=error,
        spread_percent=spread,
        width_percent=width,
        verdict=judge(len(kept), error, spread),
        efficiency=efficiency,
        curves=curves,
        seconds={**prospect.seconds, **clock.seconds},
    )


def _alike(model: FewShotModel) -> list[str]:
    """The sources that the device is most like; among equals the first."""
    weights = model.nearest_sources()
    return sorted(weights, key=lambda name: -weights[name])[:CURVES_MAX]


def _chosen(prospect: Prospect, rows: Ints, seed: int) -> Ints:
    """Places of the samples that are used, in their order."""
    sane = np.flatnonzero(~prospect.pool.encoding.degenerate[rows])
    if len(sane) <= SAMPLES_MAX:
        return sane
    planned = sane[np.isin(rows[sane], prospect.plan)][:SAMPLES_MAX]
    others = np.setdiff1d(sane, planned)
    more = np.random.default_rng(seed).choice(others, SAMPLES_MAX - len(planned), replace=False)
    return np.sort(np.concatenate([planned, more]))


def _spread_percent(latency_ms: Floats) -> float:
    """Mean absolute error of the median of the other samples, in per cent of the measured latency."""
    guesses = [np.median(np.delete(latency_ms, place)) for place in range(len(latency_ms))]
    return float(np.mean(np.abs(np.array(guesses) / latency_ms - 1.0)) * 100)


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 2)
        self._last = now
