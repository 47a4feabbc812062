"""What a simulator says, kept beside measurements: marked, resumed when interrupted, trained on, never invented."""

from __future__ import annotations

from itertools import islice

import pytest

from edgecost.costmodels.dataset import load_samples
from edgecost.costmodels.lut_build import build_lut
from edgecost.costmodels.random_blocks import random_blocks
from edgecost.costmodels.simulated.simulation import chosen_setting, simulate, simulated_samples, simulated_setting
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.training import train
from edgecost.db import Store
from edgecost.devices.simulators import SimulatedCost, describe
from edgecost.devices.simulators.systolic import SystolicArray, SystolicDesign
from edgecost.profiler.bench import Bench
from edgecost.profiler.errors import SimulatorError, UsageError
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.kernels.written import written_graph, written_workloads
from edgecost.profiler.records import Status


class Silent:
    def stage(self, title, total=None):
        pass

    def step(self, note):
        pass

    def note(self, text):
        pass


class Played:
    """A simulator that answers in turn, and counts."""

    version = "1"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def device(self):
        return describe("played", {}, "answers in turn")

    def cost(self, workload):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else SimulatedCost(latency_ms=1.0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture(scope="module")
def blocks():
    """Blocks that a systolic array can compute."""
    taken = (block for block in random_blocks(3) if not SystolicArray().cost(block).unsupported)
    return list(islice(taken, 12))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def setting():
    return simulated_setting("systolic")[0]


def ask(store, setting, simulator, workloads, purpose="cell"):
    return simulate(store, setting, simulator, workloads, purpose, Silent(), "simulating")


def kept(store, setting, **what):
    return store.measurements(device_identity=setting.device.identity, with_visits=True, **what)


def test_a_simulated_number_is_kept_without_visits_runs_or_spread(database_url, setting, blocks):
    cost = SystolicArray().cost(blocks[0])
    with Store(database_url) as store:
        ask(store, setting, SystolicArray(), blocks[:1])
        (made,) = kept(store, setting)
        (device,) = store.devices()
        profile = store.profile(made.profile_hash)
    assert (made.status, made.protocol) == (Status.SIMULATED, "simulated-1")
    assert made.visits == ()
    assert (made.latency.visits, made.latency.runs, made.latency.mad_ms) == (0, 0, None)
    assert made.latency.median_ms == made.latency.lo_ms == made.latency.hi_ms == cost.latency_ms
    assert made.net_ms == cost.latency_ms
    assert made.conditions["simulator"]["energy_mj"] == cost.energy_mj
    assert made.conditions["simulator"]["peak_memory_bytes"] is None
    assert made.conditions["simulator"]["cycles"] == cost.details["cycles"]
    assert device.description.startswith("simulated: ")
    assert profile.runtime == "simulator"


@pytest.mark.parametrize(
    "answer", [ZeroDivisionError("no"), SimulatedCost(latency_ms=float("nan")), SimulatedCost(latency_ms=-1.0), 7.0]
)
def test_what_is_no_cost_is_kept_as_a_failure_and_never_as_a_number(store, setting, blocks, answer):
    found = ask(store, setting, Played(answer), blocks[:2])
    assert (found.simulated, len(found.failures)) == (1, 1)
    failed, _ = kept(store, setting, usable_only=False)
    assert (failed.status, failed.latency, failed.overhead_ms) == (Status.CRASHED, None, None)
    assert "the simulator played" in failed.message
    assert len(simulated_samples(store, setting, ["cell"])) == 1


def test_what_is_not_supported_is_kept_without_a_number_and_not_asked_again(store, setting, blocks):
    lacking = SimulatedCost(unsupported=("Loop: no such operator", "If: no such operator"))
    found = ask(store, setting, Played(lacking), blocks[:1])
    assert found.unsupported == {"Loop: no such operator": 1, "If: no such operator": 1}
    again = Played()
    assert ask(store, setting, again, blocks[:1]).unsupported == found.unsupported
    assert again.asked == 0
    (made,) = kept(store, setting, usable_only=False)
    assert (made.status, made.latency) == (Status.UNSUPPORTED_OPERATOR, None)
    assert simulated_samples(store, setting, ["cell"]) == {}


def test_after_an_interruption_only_the_rest_is_asked_for(store, setting, blocks):
    one = SimulatedCost(latency_ms=1.0)
    with pytest.raises(KeyboardInterrupt):
        ask(store, setting, Played(one, one, KeyboardInterrupt()), blocks[:5])
    again = Played()
    found = ask(store, setting, again, blocks[:5])
    assert (found.simulated, found.reused, again.asked) == (3, 2, 3)
    assert len(simulated_samples(store, setting, ["cell"])) == 5


def test_what_failed_is_asked_for_again(store, setting, blocks):
    ask(store, setting, Played(ValueError("once")), blocks[:1])
    found = ask(store, setting, Played(), blocks[:1])
    assert (found.simulated, found.reused, found.failures) == (1, 0, ())


def test_a_simulator_that_fails_all_the_time_ends_the_run(store, setting, blocks):
    broken = Played(*[OSError("licence server") for _ in range(9)])
    with pytest.raises(SimulatorError, match=r"5 workloads in a row came to nothing.*licence server"):
        ask(store, setting, broken, blocks)
    assert broken.asked == 5


def test_a_block_that_is_a_cell_is_not_asked_about_again_as_a_node(store, setting, blocks):
    ask(store, setting, Played(), blocks[:2], "cell")
    again = Played()
    ask(store, setting, again, blocks[:3], "kernel")
    assert again.asked == 1


def test_another_design_or_version_is_another_device_or_profile():
    small, large = (simulated_setting(text)[0] for text in ("systolic", "systolic:input_kb=128"))
    assert small.device.identity != large.device.identity
    assert small.profile.profile_hash != large.profile.profile_hash
    assert small.profile.label != large.profile.label
    assert small.core_cache_bytes is None


def test_training_and_tables_take_simulated_cells_as_they_are(tmp_path):
    setting, simulator = simulated_setting("systolic:rows=64,columns=64,dataflow=ws")
    space = load_space("ofa-mobilenetv3")
    cells = [space.workload(cell) for cell in space.measurable]
    with Store(tmp_path / "store.sqlite") as store:
        ask(store, setting, simulator, cells)
        table = build_lut(
            store, space, setting.device, setting.profile, setting.stage.environment.environment_hash, None
        )
        report = train(store, setting.device.identity, setting.profile)
        samples = load_samples(store, setting.device.identity, setting.profile)
    assert set(table.source) == {"simulated"}
    assert table.provenance["interval"].startswith("simulated: none")
    assert {row.n for row in table.cells} == {0}
    assert {row.lo_ms for row in table.cells} == {None}
    arch = space.sample(1, seed=5)
    assert table.price(arch)[0] == pytest.approx(simulator.cost(space.build(arch)).latency_ms)
    assert (report.graphs, report.floor) == (len(cells), None)
    # Its energies are those of the simulator, too, and no more is said of them than of the latencies.
    rows = [row for row in table.cells if row.energy_mj is not None]
    assert {row.energy_mj for row in rows} == {simulator.cost(cell).energy_mj for cell in cells}
    assert {(row.energy_lo_mj, row.energy_hi_mj) for row in rows} == {(None, None)}
    assert "cells simulated, 0 predicted" in table.provenance["energy"]
    assert {sample.latency_ms for sample in samples} == {simulator.cost(cell).latency_ms for cell in cells}


def test_nodes_stand_alone_as_they_stand_in_their_graph():
    workload = REFERENCE_NETWORKS["mobilenet_v3_large"]()
    alone = written_workloads(workload)
    assert {one.name for one in alone} == {kernel.signature for kernel in written_graph(workload).kernels}
    made = SystolicArray(SystolicDesign())
    cycles = {one.name: made.cost(one).details.get("cycles", 0) for one in alone}
    together = sum(cycles[kernel.signature] for kernel in written_graph(workload).kernels)
    assert made.cost(workload).details["cycles"] == together


def test_a_runtime_name_with_the_prefix_is_a_simulator_and_any_other_is_this_machine():
    assert chosen_setting("simulator:systolic:rows=8").device.name == "systolic-8x16-os"
    assert chosen_setting("ort").profile.runtime == "onnxruntime"


def test_nothing_can_be_run_on_a_simulator(setting):
    with pytest.raises(UsageError, match="nothing can be run on simulator systolic"):
        Bench.for_profile(setting.profile)
