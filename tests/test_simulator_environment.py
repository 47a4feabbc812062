"""The environment of the example: it is one by Gymnasium's own check, and its agent comes near its targets."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.space_file import load_space
from edgecost.devices.simulators import open_simulator
from edgecost.profiler.kernels.written import written_graph

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "simulator_environment.py"
SIMULATOR = "systolic:rows=64,columns=64,dataflow=ws"

pytest.importorskip("gymnasium", reason="the environment of the example needs it: pip install gymnasium")


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("simulator_environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulator_environment"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulator_environment"]


@pytest.fixture(scope="module")
def env(example):
    """An environment on small proxies of every third cell."""
    space, simulator = load_space("ofa-mobilenetv3"), open_simulator(SIMULATOR)
    cells = [space.workload(cell) for cell in space.measurable[::3]]
    costs = [simulator.cost(cell) for cell in cells]
    graphs = [written_graph(cell).kernels for cell in cells]
    latency, energy = (
        LatencyPredictor(rounds=20, folds=2).fit(graphs, [getattr(cost, name) for cost in costs])
        for name in ("latency_ms", "energy_mj")
    )
    return example.NetworkDesign(space, simulator, latency, energy, (10.0, 8.0))


def test_it_is_an_environment_by_gymnasiums_own_check(env):
    from gymnasium.utils.env_checker import check_env

    check_env(env, skip_render_check=True)


def test_an_action_is_an_architecture_and_its_depths_are_kept(env):
    env.action_space.seed(1)
    for _ in range(20):
        action = env.action_space.sample()
        (arch,) = env.arch(action)
        (native,) = env.space.decode(arch[None])
        assert native["d"] == [stage.depths[depth] for stage, depth in zip(env.space.stages, action, strict=False)]
        active = arch >= 0
        assert (arch[active] == np.asarray(action)[len(env.space.stages) :][active]).all()


def test_the_reward_grows_towards_the_targets(env):
    env.reset(seed=0)
    action = env.action_space.sample()
    price = env.step(action)[4]["price"]
    rewards = []
    for off in (2.0, 1.2, 1.05, 1.0):
        env.targets = (price.latency_ms * off, price.energy_mj)
        rewards.append(env.step(action)[1])
    assert rewards == sorted(rewards)
    assert rewards[-1] == 100.0


def test_an_episode_ends_after_its_horizon(env, example):
    env.reset(seed=0)
    action = env.action_space.sample()
    ends = [env.step(action)[3] for _ in range(3)]
    env.steps = example.HORIZON - 1
    assert [*ends, env.step(action)[3]] == [False, False, False, True]


def test_what_the_proxy_cannot_price_the_simulator_does(example, env):
    space = env.space
    blind = [space.workload(cell) for cell in load_space("proxylessnas").measurable[:20]]
    graphs = [written_graph(block).kernels for block in blind]
    model = LatencyPredictor(rounds=5, folds=2).fit(graphs, [env.simulator.cost(block).latency_ms for block in blind])
    made = example.NetworkDesign(space, env.simulator, model, model, (10.0, 8.0))
    workload = made.workload(made.action_space.sample())
    price = made.price(workload)
    assert (price.source, made.simulator_calls) == ("simulator", 1)
    assert price.latency_ms == env.simulator.cost(workload).latency_ms


def test_the_script_says_what_the_simulator_says_of_the_best_design():
    command = [sys.executable, SCRIPT, "--simulator", SIMULATOR, "--episodes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    proxy, simulator = (
        [float(number) for number in re.search(rf"^{who}.*? ([\d.]+) ms  ([\d.]+) mJ", done.stdout, re.M).groups()]
        for who in ("best by proxy", "the simulator ")
    )
    assert proxy == pytest.approx(simulator, rel=0.02)
    assert "the simulator was asked about 1 of them" in done.stdout
