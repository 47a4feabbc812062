"""A proxy before a simulator: it is judged on what it never saw, and says so where it cannot be."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from edgecost.cli.main import cli, main
from edgecost.costmodels.dataset import NETWORK_PURPOSES
from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.metrics.energy_training import train_energy
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.simulated import proxy
from edgecost.costmodels.simulated.proxy import JUDGE, ProxyPlan, agreement, fit_proxy, save_proxy
from edgecost.costmodels.simulated.simulation import simulate, simulated_samples, simulated_setting
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.devices.simulators import SimulatedCost, describe
from edgecost.devices.simulators.systolic import SystolicArray, SystolicDesign
from edgecost.profiler.errors import GateError, SimulatorError, UsageError
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.weights import complete

FAST = "systolic:rows=64,columns=64,dataflow=ws"


class Silent:
    def stage(self, title, total=None):
        pass

    def step(self, note):
        pass

    def note(self, text):
        pass


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A store and the report of a small plan on it."""
    setting, simulator = simulated_setting(FAST)
    plan = ProxyPlan((load_space("ofa-mobilenetv3"),), samples=96, nodes=False, networks=4, held_out=4)
    with Store(tmp_path_factory.mktemp("proxy") / "store.sqlite") as store:
        yield store, setting, simulator, plan, fit_proxy(store, setting, simulator, plan, Silent())


def test_it_agrees_with_the_simulator_on_networks_it_never_saw(fitted):
    _, _, _, _, report = fitted
    (judged,) = report.judgements
    assert (judged.space, judged.is_known, judged.networks, judged.unpriced) == ("ofa-mobilenetv3", True, 4, 0)
    assert judged.latency.accuracy.within_5 == judged.energy.accuracy.within_5 == 1.0
    assert judged.latency.rmse_percent < 2
    assert report.training.networks == 4
    assert report.unsupported == {}


def test_no_network_is_both_learned_from_and_judged_on(fitted):
    store, setting, _, _, _ = fitted
    learned, judged = (set(simulated_samples(store, setting, what)) for what in (NETWORK_PURPOSES, [JUDGE]))
    assert (len(learned), len(judged)) == (4, 4)
    assert not learned & judged


def test_a_network_that_was_learned_from_never_judges_later(fitted):
    store, setting, _, plan, _ = fitted
    # The seed of the networks that are learned from is now that of those that would judge.
    turned = replace(plan, seed=plan.seed - 1)
    ((_, networks),) = proxy._judged(store, setting, turned)
    assert networks == []


@pytest.fixture
def trained_before(fitted, monkeypatch):
    """Training takes seconds and is deterministic: what it gave is given again."""
    report = fitted[-1]
    monkeypatch.setattr(proxy, "train", lambda *args, **kwargs: report.training)
    monkeypatch.setattr(proxy, "_fit_energy", lambda *args: report.energy)


@pytest.mark.usefixtures("trained_before")
def test_again_nothing_is_simulated_and_the_times_are_of_this_run(fitted):
    store, setting, simulator, plan, before = fitted
    report = fit_proxy(store, setting, simulator, plan, Silent())
    assert (report.document()["simulated"], report.document()["reused"]) == (0, 104)
    assert report.judgements == before.judgements
    speed = report.speed
    assert min(speed.simulator_s, speed.proxy_s, speed.batch_s, speed.fit_s) > 0
    assert speed.training_s == pytest.approx(before.speed.training_s)


@pytest.mark.usefixtures("trained_before")
def test_a_simulator_that_changes_its_mind_cannot_be_judged_against(fitted):
    store, setting, _, plan, _ = fitted
    another = SystolicArray(SystolicDesign(rows=8))
    with pytest.raises(GateError, match="the store has"):
        fit_proxy(store, setting, another, plan, Silent())


def test_both_predictors_are_saved_with_their_origin(fitted, tmp_path):
    store, setting, _, _, report = fitted
    save_proxy(report, setting, tmp_path / "proxy", store.url)
    latency, origin = load_predictor(tmp_path / "proxy")
    energy, of_energy = EnergyPredictor.load(tmp_path / "proxy" / "energy")
    assert origin["device_description"].startswith("simulated: ")
    assert (of_energy["metric"], of_energy["unit"], energy.scope_) == ("energy", "mJ", "simulated")
    arch = load_space("ofa-mobilenetv3").build(load_space("ofa-mobilenetv3").sample(1, 9))
    graph = proxy.priced_kernels(arch, setting.profile).kernels
    assert latency.predict([graph], network=True) == report.training.predictor.predict([graph], network=True)
    assert energy.price([graph], network=True) == report.energy.predictor.price([graph], network=True)


def test_the_speed_pays_after_the_networks_that_training_cost():
    speed = proxy.Speed(simulator_s=2.0, proxy_s=0.5, batch_s=0.1, training_s=10.0, fit_s=5.0)
    assert speed.pays_after == 10
    assert replace(speed, proxy_s=2.0).pays_after is None


def test_the_rmse_is_that_of_the_differences():
    found = agreement([1.0, 4.0, math.nan], [2.0, 2.0, 9.0])
    assert found.rmse == pytest.approx(math.sqrt((1 + 4) / 2))
    assert found.rmse_percent == pytest.approx(found.rmse / 2 * 100)
    assert found.accuracy.n == 3
    assert agreement([math.nan], [1.0]) is None
    assert agreement([], []) is None
    assert agreement(np.array([2.0]), np.array([2.0])).rmse == 0.0


class Lacking:
    """A simulator that computes nothing."""

    version = "1"

    def device(self):
        return describe("lacking", {}, "nothing")

    def cost(self, workload):
        return SimulatedCost(unsupported=("Conv: not built",))


class Broken(Lacking):
    def cost(self, workload):
        raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("simulator", "error", "message"),
    [
        (Lacking(), UsageError, "computes 0 of the blocks; 10 is the least: no Conv: not built"),
        (Broken(), SimulatorError, "5 workloads in a row.*no licence"),
    ],
)
def test_a_simulator_that_says_nothing_ends_in_a_clear_error(tmp_path, simulator, error, message):
    plan = ProxyPlan(judges=(load_space("fbnet"),), samples=12, networks=0, held_out=2)
    with Store(tmp_path / "store.sqlite") as store, pytest.raises(error, match=message):
        fit_proxy(store, simulated_setting("systolic")[0], simulator, plan, Silent())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (ProxyPlan(), "no space is named"),
        (ProxyPlan(judges=(load_space("fbnet"),), samples=9), "9 blocks are too few"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_is_simulated(tmp_path, plan, message):
    setting, _ = simulated_setting("systolic")
    with Store(tmp_path / "store.sqlite") as store:
        with pytest.raises(UsageError, match=message):
            fit_proxy(store, setting, Broken(), plan, Silent())
        assert store.measurements(usable_only=False) == []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    workload = REFERENCE_NETWORKS["bert_tiny"]()
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    file.write_bytes(complete(workload.skeleton, workload.weights))
    return file


def test_simulate_says_what_the_simulator_says(model):
    cost = SystolicArray(SystolicDesign(rows=64)).cost(REFERENCE_NETWORKS["bert_tiny"]())
    done = CliRunner().invoke(cli, ["simulate", str(model), "--simulator", "systolic:rows=64", "--json"])
    found = json.loads(done.stdout)
    assert (found["latency_ms"], found["energy_mj"]) == (cost.latency_ms, cost.energy_mj)
    assert found["details"]["cycles"] == cost.details["cycles"]
    assert found["device"].startswith("simulated: systolic array 64×16")
    done = CliRunner().invoke(cli, ["simulate", str(model), "--simulator", "systolic:rows=64"])
    assert f"{cost.latency_ms:.3f} ms" in done.stdout


def test_a_model_that_the_simulator_cannot_compute_has_exit_code_5_and_no_number(tmp_path, capsys):
    from edgecost.devices.simulators.contract import unknown_operator

    file = tmp_path / "model.onnx"
    file.write_bytes(unknown_operator().skeleton)
    assert main(["simulate", str(file), "--json"]) == 5
    captured = capsys.readouterr()
    assert json.loads(captured.out)["latency_ms"] is None
    assert "EdgecostContract" in captured.err


def test_the_command_fits_and_what_it_wrote_predicts(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    folder = tmp_path / "proxy"
    small = ["--samples", "40", "--no-nodes", "--networks", "0", "--held-out", "2", "--space", "ofa-mobilenetv3"]
    assert main(["proxy", "fit", "--simulator", FAST, *small, "--out", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "simulated: systolic array 64×64 (ws)" in said
    assert "judged on whole networks that it has not seen" in said
    assert "learned   latency" in said
    assert "faster" in said
    named = ["--runtime", f"simulator:{FAST}", "--predictor", str(folder)]
    assert main(["predict", str(model), *named, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"].startswith("simulator systolic 1 (systolic-64x64-ws")
    energy = ["--runtime", f"simulator:{FAST}", "--metric", "energy", "--predictor", str(folder / "energy")]
    assert main(["predict", str(model), *energy, "--json"]) == 0
    millijoules = json.loads(capsys.readouterr().out)["total_mj"]
    assert millijoules > 0
    sides = ["--head", f"simulator:{FAST}", "--tail", "simulator:systolic", "--link", "1Gbit/s"]
    proxies = ["--head-predictor", str(folder), "--head-energy", str(folder / "energy")]
    assert main(["split", str(model), *sides, *proxies, "--json"]) == 0
    cut = json.loads(capsys.readouterr().out)["cuts"][-1]
    assert cut["board_energy"]["energy_mj"] == pytest.approx(millijoules)
    assert cut["head"]["source"] == "predicted"
    # A simulator that is asked itself has no use for one of them.
    assert main(["split", str(model), *sides, *proxies[2:]]) == 2
    assert "says the energy itself" in capsys.readouterr().err
    # `train` learns the same from the same answers, and puts it where `predict` looks.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    capsys.readouterr()
    again = energy[:4]
    assert main(["train", *again, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert (trained["metric"], trained["scope"], trained["graphs"]) == ("energy", "simulated", 40)
    assert main(["predict", str(model), *again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_mj"] == pytest.approx(millijoules)
    # A predictor of one design is not believed about another.
    assert main(["predict", str(model), "--runtime", "simulator:systolic", "--predictor", str(folder)]) == 8


@pytest.mark.parametrize(
    ("metric", "said"), [("energy", "nothing was simulated"), ("memory", "a simulator has no memory")]
)
def test_what_cannot_be_learnt_of_a_simulator_is_refused_with_what_can(metric, said, tmp_path, capsys):
    named = ["--metric", metric, "--runtime", f"simulator:{FAST}", "--db", str(tmp_path / "store.sqlite")]
    assert main(["train", *named]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "edgecost proxy fit" in told or "--metric latency" in told


def test_a_simulator_without_energies_says_so(tmp_path):
    class Timer(SystolicArray):
        def cost(self, workload):
            return replace(super().cost(workload), energy_mj=None)

    space = load_space("ofa-mobilenetv3")
    block = space.workload(space.measurable[0])
    setting, _ = simulated_setting(FAST)
    with Store(str(tmp_path / "store.sqlite")) as store:
        simulate(store, setting, Timer(SystolicDesign()), [block], "cell", Silent(), "asking")
        with pytest.raises(UsageError, match=r"says no energies \(1 graphs") as caught:
            train_energy(store, setting.device.identity, setting.profile)
    assert "leave out --metric energy" in caught.value.remedy


def test_the_simulators_are_listed(capsys):
    assert main(["proxy", "simulators"]) == 0
    assert "systolic" in capsys.readouterr().out.split()


@pytest.mark.parametrize("command", [["campaign", "run", "--space", "fbnet"], ["probe"]])
def test_a_command_that_runs_things_refuses_a_simulator(command, tmp_path, capsys):
    code = main([*command, "--runtime", "simulator:systolic", "--db", str(tmp_path / "store.sqlite")])
    assert (code, "asks a machine, not a simulator" in capsys.readouterr().err) == (2, True)
