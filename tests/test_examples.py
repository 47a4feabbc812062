"""The examples do what they say: searches beat chance, gradients are right, and no file of a folder goes missing.

Each is run as a user runs it, on tables whose latencies are a simulated core's.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecost.costmodels.lut import Lut
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.space_file import load_space
from edgecost.devices.simulators import open_simulator
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.weights import complete
from tests.stage_props import table_by_law

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """An example in a process of its own, as a user starts it."""
    command = [sys.executable, EXAMPLES / f"{script}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ofa_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_by_law("ofa-mobilenetv3", tmp_path_factory.mktemp("ofa") / "ofa.lut.json", "core")


@pytest.fixture(scope="module")
def fbnet_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_by_law("fbnet", tmp_path_factory.mktemp("fbnet") / "fbnet.lut.json", "core")


@pytest.fixture(scope="module")
def fbnet_loss() -> Iterator[ModuleType]:
    name = "differentiable_latency_loss"
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


def test_evolution_keeps_to_each_limit_and_beats_random_search_that_asks_as_often(ofa_table: Path) -> None:
    done = run("ofa_evolutionary_search", ofa_table, "--limits", "3", "--population", "60", "--generations", "20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The accuracy is a stand-in" in done.stdout
    rows = re.findall(r"([\d.]+) ms +([\d.]+) ms +([\d.]+) +([\d.]+) ms +([\d.]+) +(\d+)$", done.stdout, re.MULTILINE)
    assert len(rows) == 3
    for limit_ms, evolved_ms, evolved, random_ms, by_chance, priced in np.array(rows, dtype=float):
        assert max(evolved_ms, random_ms) <= limit_ms
        assert evolved > by_chance
        assert priced == 4 * 60 + 20 * 60
    lut = Lut.load(ofa_table)
    natives = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    np.testing.assert_allclose(lut.price(lut.space.encode(natives)), [float(row[1]) for row in rows], atol=6e-4)


def test_a_limit_that_none_of_the_first_networks_meets_is_told_in_a_line(ofa_table: Path) -> None:
    done = run("ofa_evolutionary_search", ofa_table, "--limits", "1", "--population", "1")
    assert done.returncode == 1
    assert re.fullmatch(r"no network of 4 takes [\d.]+ ms or less: raise the limit\n", done.stderr)


@pytest.mark.parametrize("script", ["ofa_evolutionary_search", "optuna_two_objectives"])
def test_the_same_seed_finds_the_same_networks(script: str, ofa_table: Path) -> None:
    if "optuna" in script:
        pytest.importorskip("optuna", reason="optuna is not installed")
    first, second = (run(script, ofa_table).stdout for _ in range(2))
    assert '"ks":' in first
    assert first == second


def test_of_the_trials_that_optuna_keeps_none_beats_another_and_each_costs_what_the_table_says(ofa_table: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    done = run("optuna_two_objectives", ofa_table, "--trials", "60")
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^ *([\d.]+) ms +([\d.]+) +(\{.*\})$", done.stdout, re.MULTILINE)
    assert len(rows) >= 3
    latency_ms, value = (np.array([float(row[place]) for row in rows]) for place in (0, 1))
    assert (np.diff(latency_ms) >= 0).all()
    assert (np.diff(value) > 0).all()
    lut = Lut.load(ofa_table)
    archs = lut.space.encode([json.loads(row[2]) for row in rows])
    np.testing.assert_allclose(lut.price(archs), latency_ms, atol=6e-4)


def test_the_gradient_of_the_latency_loss_is_that_of_finite_differences(
    fbnet_loss: ModuleType, fbnet_table: Path
) -> None:
    problem, rng = fbnet_loss.Problem(Lut.load(fbnet_table), 0.6), np.random.default_rng(5)
    theta, noise = rng.normal(size=problem.real.shape), rng.gumbel(size=problem.real.shape)
    _, gradient = problem.by_numpy(theta, noise, 2.0)
    direction, step = rng.normal(size=theta.shape), 1e-6
    above, below = (problem.by_numpy(theta + sign * step * direction, noise, 2.0)[0] for sign in (1, -1))
    assert (gradient * direction).sum() == pytest.approx((above - below) / (2 * step), rel=1e-5)
    assert not gradient[~problem.real].any()


def test_torch_and_numpy_agree_on_the_latency_loss_and_its_gradient(fbnet_loss: ModuleType, fbnet_table: Path) -> None:
    pytest.importorskip("torch", reason="torch is optional and not installed")
    problem, rng = fbnet_loss.Problem(Lut.load(fbnet_table), 0.6), np.random.default_rng(6)
    theta, noise = rng.normal(size=problem.real.shape), rng.gumbel(size=problem.real.shape)
    loss, gradient = problem.by_numpy(theta, noise, 0.7)
    by_torch = problem.by_torch(theta, noise, 0.7)
    assert by_torch[0] == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(by_torch[1], gradient, rtol=1e-7, atol=1e-12)


def test_more_weight_on_latency_finds_faster_networks(fbnet_table: Path) -> None:
    done = run("differentiable_latency_loss", fbnet_table, "--without-torch")
    assert (done.returncode, done.stderr) == (0, "")
    found = [float(ms) for ms in re.findall(r"takes ([\d.]+) ms", done.stdout)]
    assert len(found) == 3
    assert found == sorted(found, reverse=True)
    lut = Lut.load(fbnet_table)
    natives = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    np.testing.assert_allclose(lut.price(natives), found, atol=6e-4)


@pytest.fixture(scope="module")
def priced_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor of a virtual board, and a network, one with an operator that it never saw, and what is no model."""
    folder = tmp_path_factory.mktemp("folder")
    space, simulator = load_space("ofa-mobilenetv3"), open_simulator("core")
    cells = [space.workload(cell) for cell in space.measurable]
    networks = [space.build(arch[None]) for arch in space.sample(12, seed=1)]
    graphs = [written_graph(one).kernels for one in (*cells, *networks)]
    latency_ms = [simulator.cost(one).latency_ms for one in (*cells, *networks)]
    is_network = [False] * len(cells) + [True] * len(networks)
    profile = resolve(BUILT_IN["virtual-nano"])
    save_predictor(
        LatencyPredictor(rounds=20).fit(graphs, latency_ms, is_network=is_network),
        folder / "predictor",
        {"device_description": "a test", "profile": profile.label, "profile_hash": profile.profile_hash},
    )
    network = space.build(space.sample(1, seed=9))
    (folder / "known.onnx").write_bytes(complete(network.skeleton, network.weights))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "strange.onnx")
    (folder / "broken.onnx").write_text("no model")
    return folder


def test_each_file_of_a_folder_has_a_price_or_says_why_not(priced_folder: Path) -> None:
    done = run("price_a_folder", priced_folder, "--predictor", priced_folder / "predictor", "--runtime", "virtual-nano")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.startswith("3 files on a test, ")
    told = {row.split()[0]: row for row in rows}
    assert re.search(r"known.onnx +[\d.]+ ms +[\d.]+ \.\.\. [\d.]+ .*interpolated", told["known.onnx"])
    assert re.search(r"strange.onnx +no price +none +unsupported 1 of 1 kernels: Erf", told["strange.onnx"])
    assert re.search(r"broken.onnx +no price +none .+broken.onnx", told["broken.onnx"])


def test_a_predictor_of_another_runtime_and_an_empty_folder_are_refused_in_a_line(
    priced_folder: Path, tmp_path: Path
) -> None:
    other = run("price_a_folder", priced_folder, "--predictor", priced_folder / "predictor")
    empty = run("price_a_folder", tmp_path, "--predictor", priced_folder / "predictor")
    none = run("price_a_folder", priced_folder, "--predictor", tmp_path)
    for refused in (other, empty, none):
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
    assert "name it with --runtime" in other.stderr
    assert "no .onnx files" in empty.stderr
