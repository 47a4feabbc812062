"""A Gymnasium environment in which an agent designs networks for an accelerator that exists only in a simulator.

The agent chooses an architecture of a search space; a proxy that was fitted to the simulator prices it in milliseconds
and millijoules; the reward grows towards the targets, as in ArchGym (Krishnan et al., ISCA 2023). Where the proxy has
no price the simulator is asked, and it has the last word on the best design. Here the agent is a genetic algorithm; any
other that speaks Gymnasium will do.

    pip install gymnasium
    python examples/simulator_environment.py --latency-ms 8 --energy-mj 6
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.simulated.proxy import ProxyPlan, fit_proxy
from edgecost.costmodels.simulated.simulation import simulated_setting
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.devices.simulators import SimulatedDevice, checked_cost
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.workload import Workload

#: A target that is met exactly would be worth infinitely much.
REWARD_MAX = 100.0
#: Shares beyond a thousand times the target are all the same to an agent.
SHARE_MAX = 1000.0
#: Designs of an episode.
HORIZON = 40


@dataclass(frozen=True)
class Price:
    """What a design costs, and who says so: ``proxy`` or ``simulator``."""

    latency_ms: float
    energy_mj: float
    source: str


class NetworkDesign(gymnasium.Env):
    """One step is one architecture.

    Action: for each stage which of its depths, then for each position which of its candidates. Observation: latency and
    energy of the last design as shares of their targets, 0 before the first.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium asks for it

    def __init__(
        self,
        space: Space,
        simulator: SimulatedDevice,
        latency: LatencyPredictor,
        energy: EnergyPredictor,
        targets: tuple[float, float],
    ) -> None:
        self.space, self.simulator = space, simulator
        self.latency, self.energy, self.targets = latency, energy, targets
        self.simulator_calls = 0
        depths = [len(stage.depths) for stage in space.stages]
        self.action_space = spaces.MultiDiscrete([*depths, *(len(position.cells) for position in space.positions)])
        self.observation_space = spaces.Box(0.0, SHARE_MAX, shape=(2,), dtype=np.float32)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        price = self.price(self.workload(action))
        self.steps += 1
        shares = np.array([price.latency_ms / self.targets[0], price.energy_mj / self.targets[1]], dtype=np.float32)
        # Target over distance to it; of two targets the one that is missed by more decides.
        missed = float(np.abs(1.0 - shares).max())
        reward = REWARD_MAX if missed * REWARD_MAX < 1 else 1 / missed
        return shares.clip(max=SHARE_MAX), reward, False, self.steps >= HORIZON, {"price": price}

    def workload(self, action) -> Workload:
        """The network of an action; positions beyond a stage's depth are left out."""
        return self.space.build(self.arch(action))

    def arch(self, action):
        """The action as an architecture of the space, shape (1, positions)."""
        chosen = np.asarray(action, dtype=np.int16)
        arch = chosen[len(self.space.stages) :].copy()
        for stage, depth in zip(self.space.stages, chosen, strict=False):
            arch[stage.start + stage.depths[depth] : stage.stop] = -1
        return arch[None]

    def price(self, workload: Workload) -> Price:
        """By the proxy; by the simulator where the proxy has no price for a part of it."""
        kernels = [written_graph(workload).kernels]
        latency = self.latency.price(kernels, network=True)[0]
        energy = self.energy.price(kernels, network=True)[0]
        if latency.is_lower_bound or energy.is_lower_bound:
            return self.simulate(workload)
        return Price(latency.total_ms, energy.total_mj, "proxy")

    def simulate(self, workload: Workload) -> Price:
        """By the simulator."""
        self.simulator_calls += 1
        cost = checked_cost(self.simulator, workload)
        if cost.latency_ms is None or cost.energy_mj is None:
            raise SystemExit(f"the simulator has no price for {workload.name}: {'; '.join(cost.unsupported)}")
        return Price(cost.latency_ms, cost.energy_mj, "simulator")


class Quiet:
    """Nobody watches the fit."""

    def stage(self, title: str, total: int | None = None) -> None: ...

    def step(self, note: str) -> None: ...

    def note(self, text: str) -> None: ...


def make_environment(simulator_name: str, space_name: str, targets: tuple[float, float]) -> NetworkDesign:
    """Fit the proxy to the cells of a space, in a store that is thrown away, and put it before the simulator."""
    space = load_space(space_name)
    setting, simulator = simulated_setting(simulator_name)
    plan = ProxyPlan(spaces=(space,), samples=len(space.measurable), nodes=False, networks=0, held_out=5)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder, "simulated.sqlite")) as store:
        report = fit_proxy(store, setting, simulator, plan, Quiet())
    if report.energy is None:
        raise SystemExit(f"{simulator_name} says nothing of energy")
    return NetworkDesign(space, simulator, report.training.predictor, report.energy.predictor, targets)


def evolve(env: NetworkDesign, episodes: int, seed: int):
    """A genetic algorithm: an episode is a generation; the better half has children with a few genes changed."""
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    population = [env.action_space.sample() for _ in range(HORIZON)]
    scored = []
    for episode in range(episodes):
        env.reset(seed=seed + episode)
        for action in population:
            _, reward, _, _, info = env.step(action)
            scored.append((reward, action, info["price"]))
        scored.sort(key=lambda one: -one[0])
        parents = [action for _, action, _ in scored[: HORIZON // 2]]
        population = []
        for _ in range(HORIZON):
            first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            child = np.where(rng.random(len(first)) < 0.5, first, second)
            population.append(np.where(rng.random(len(child)) < 0.1, env.action_space.sample(), child))
    return scored[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulator", default="systolic:rows=32,columns=32,dataflow=ws")
    parser.add_argument("--space", default="ofa-mobilenetv3")
    parser.add_argument("--latency-ms", type=float, default=8.0)
    parser.add_argument("--energy-mj", type=float, default=7.0)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    env = make_environment(given.simulator, given.space, (given.latency_ms, given.energy_mj))
    reward, action, price = evolve(env, given.episodes, given.seed)
    said = env.simulate(env.workload(action))
    print(f"{env.simulator.device().description}")
    print(f"targets          {given.latency_ms:.3f} ms  {given.energy_mj:.3f} mJ")
    print(f"best by {price.source:9}{price.latency_ms:.3f} ms  {price.energy_mj:.3f} mJ  (reward {reward:.1f})")
    print(f"the simulator    {said.latency_ms:.3f} ms  {said.energy_mj:.3f} mJ")
    print(f"{given.episodes * HORIZON} designs were tried; the simulator was asked about {env.simulator_calls} of them")
    print(json.dumps(env.space.decode(env.arch(action))[0]))


if __name__ == "__main__":
    main()
