"""A new device from ten or twenty samples: three experts, weighed by evidence and by leave-one-out error.

``with fleet`` and ``without fleet`` are branches of one Bayesian table and weighed by evidence. ``stack``, a
non-negative combination of the sources, has no evidence that compares; it is weighed against the table by leave-one-out
error as if both had Laplace errors (pseudo-BMA: Geisser & Eddy, JASA 74, 1979), after a prior that doubts it.

    beliefs = prepare(fleet)                     # once per fleet: seconds
    plan = beliefs.plan(budget=20)               # before anything is measured
    model = beliefs.fit(plan.rows, latency_ms)   # a fraction of a second
    model.predict_ms()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .bayes_lut import BayesLut, check_samples, fit_bayes_lut
from .branches import FamilyPrior, make_branches, operator_groups
from .few_shot_intervals import Width, few_shot_width
from .fleet import Fleet
from .lattice_prior import learn_prior
from .plan import Plan, plan_samples
from .prior_design import Branch
from .stack import Stack, fit_stack

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What is believed of the stack before the first sample, and the fewest samples that can say anything of it.
STACK_PRIOR = 0.2
STACK_SAMPLES_MIN = 4
#: An expert's mean error counts as at least this share of the other's: beyond that more odds would say no more.
_SMALLEST_ERROR = 1e-4


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What a fleet makes one believe of the next device; holds for any number of new devices.

    Attributes:
        priors: learnt prior of each family; empty where the fleet is too small to learn one.
    """

    fleet: Fleet
    branches: tuple[Branch, ...]
    priors: Mapping[str, FamilyPrior]

    def plan(
        self, budget: int, *, pool: npt.ArrayLike | None = None, strategy: str | None = None, seed: int = 0
    ) -> Plan:
        """Architectures to measure; see ``plan_samples``."""
        return plan_samples(self.fleet, self.branches, budget, pool=pool, strategy=strategy, seed=seed)

    def fit(self, rows: npt.ArrayLike, latency_ms: npt.ArrayLike) -> FewShotModel:
        """Learn the device.

        Args:
            rows: shape (samples,), the architectures that were measured.
            latency_ms: shape (samples,), positive.

        Raises:
            UsageError: no samples, rows outside the space, or latencies that are not positive and finite.
        """
        chosen, measured = check_samples(rows, latency_ms, self.fleet.encoding.size)
        table = fit_bayes_lut(self.branches, chosen, measured)
        stack, weight = None, 0.0
        if len(chosen) >= STACK_SAMPLES_MIN and len(self.fleet.sources) > 1:
            stack = fit_stack(self.fleet.relative(), chosen, measured)
            typical = self.fleet.relative()[chosen].mean(axis=1)
            weight = _stack_weight((table.loo_ms - measured) / typical, (stack.loo_ms - measured) / typical)
        return FewShotModel(self.fleet, chosen, measured, table, stack, weight)


@dataclass(frozen=True, eq=False)
class FewShotModel:
    """A device learnt from few samples.

    Attributes:
        rows, latency_ms: shape (samples,), the samples.
        table: the Bayesian table, with and without the fleet.
        stack: None with fewer than two sources or ``STACK_SAMPLES_MIN`` samples.
        stack_weight: its weight against the table, 0 … 1.
    """

    fleet: Fleet
    rows: Ints
    latency_ms: Floats
    table: BayesLut
    stack: Stack | None
    stack_weight: float

    def predict_ms(self) -> Floats:
        """Latency of every architecture of the space, milliseconds, shape (architectures,)."""
        guess = (1.0 - self.stack_weight) * self.table.predict_ms()
        if self.stack is not None:
            guess = guess + self.stack_weight * self.stack.predict_ms(self.fleet.relative())
        return np.maximum(guess, self.table.floor_ms)

    def deviation_ms(self) -> Floats:
        """Standard deviation of a new measurement, within and between the experts, milliseconds, (architectures,)."""
        table, weight = self.table.deviation_ms(), self.stack_weight
        if self.stack is None or weight == 0:
            return table
        guess = self.stack.predict_ms(self.fleet.relative())
        within = (1.0 - weight) * table**2 + weight * (self.stack.deviation * guess) ** 2
        between = weight * (1.0 - weight) * (guess - self.table.predict_ms()) ** 2
        spread: Floats = np.sqrt(within + between)
        return spread

    def loo_ms(self) -> Floats:
        """Prediction of each sample from the others (the stack's weight is that of all samples), milliseconds."""
        guess = (1.0 - self.stack_weight) * self.table.loo_ms
        return guess if self.stack is None else guess + self.stack_weight * self.stack.loo_ms

    def loo_error_percent(self) -> float:
        """Mean absolute leave-one-out error in per cent of the measured latency: what to go by before trusting it."""
        return float(np.mean(np.abs(self.loo_ms() / self.latency_ms - 1.0)) * 100)

    def interval_width(self, alpha: float = 0.1) -> Width:
        """How many deviations the interval reaches to each side, and what says so."""
        return few_shot_width(self.latency_ms, self.loo_ms(), self.loo_deviation_ms(), alpha)

    def predict_interval_ms(self, alpha: float = 0.1) -> Floats:
        """Interval for a new measurement of every architecture, milliseconds, shape (architectures, 2).

        Raises:
            UsageError: ``alpha`` does not lie between 0 and 1.
        """
        guess, reach = self.predict_ms(), self.interval_width(alpha).deviations * self.deviation_ms()
        return np.column_stack([np.maximum(guess - reach, 0.0), guess + reach])

    def expert_weights(self) -> dict[str, float]:
        """Weights of ``with fleet``, ``without fleet`` and ``stack``; they sum to one."""
        table, alone = 1.0 - self.stack_weight, self.table.weight_of("none")
        return {"with fleet": table * (1.0 - alone), "without fleet": table * alone, "stack": self.stack_weight}

    def nearest_sources(self) -> dict[str, float]:
        """Posterior weight, within the table, of being like each source alone; what is missing is like none of them."""
        return {name: self.table.weight_of(f"twin:{name}") for name in self.fleet.names}

    def loo_deviation_ms(self) -> Floats:
        """Standard deviation of each sample's prediction from the others, milliseconds, shape (samples,)."""
        table, weight = self.table.loo_deviation_ms, self.stack_weight
        if self.stack is None or weight == 0:
            return table
        within = (1.0 - weight) * table**2 + weight * (self.stack.deviation * self.stack.loo_ms) ** 2
        between = weight * (1.0 - weight) * (self.stack.loo_ms - self.table.loo_ms) ** 2
        spread: Floats = np.sqrt(within + between)
        return spread


def prepare(fleet: Fleet, *, seed: int = 0) -> Beliefs:
    """Learn from the fleet how devices differ: each source plays the unknown one. Seconds, once per fleet.

    Args:
        seed: which of their samples the sources show; equal seeds give equal beliefs.
    """
    priors = learn_prior(fleet, seed=seed)
    return Beliefs(fleet, make_branches(fleet, operator_groups(fleet.encoding), priors), priors)


def _stack_weight(table_error_ms: Floats, stack_error_ms: Floats) -> float:
    """Weight of the stack from leave-one-out errors on one scale, as if they were Laplace: (mean error)^-n and a prior.

    Laplace, not Gauss: on phones one sample in ten may be far off.
    """
    table, stack = float(np.mean(np.abs(table_error_ms))), float(np.mean(np.abs(stack_error_ms)))
    # Two experts that are both exact share the weight as the prior does.
    least = max(_SMALLEST_ERROR * max(table, stack), np.finfo(np.float64).tiny)
    log_odds = len(table_error_ms) * np.log(max(table, least) / max(stack, least))
    log_odds += np.log(STACK_PRIOR / (1.0 - STACK_PRIOR))
    return float(1.0 / (1.0 + np.exp(-np.clip(log_odds, -50.0, 50.0))))
