"""A virtual device through the whole path: visits, energies, memory, predictor and table, each marked as virtual."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.named_runtimes import chosen_profile, list_runtimes
from edgecost.devices.simulators.contract import SimulatedDeviceContract
from edgecost.devices.simulators.roofline import Roofline, RooflineDesign, roofline
from edgecost.devices.virtual.bench import VirtualLoader, VirtualSupply, asked_cost
from edgecost.devices.virtual.catalogue import MARK, VirtualDevice, open_virtual, virtual_names
from edgecost.devices.virtual.door import energy_bench, meter_of, open_bench
from edgecost.devices.virtual.machine import Character
from edgecost.profiler.bench import Bench
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.measure import measure_group
from edgecost.profiler.memory import measure_memory
from edgecost.profiler.protocol import PRESETS, Settings
from edgecost.profiler.readings import Reading
from edgecost.profiler.records import Measurement, Status
from edgecost.profiler.tasks import Gathered, Task
from edgecost.profiler.workload import Workload, workload_from_model


class TestTheProcessorWithCaches(SimulatedDeviceContract):
    def make_simulator(self) -> Roofline:
        return Roofline()


def conv(channels: int) -> Workload:
    graph = GraphBuilder(f"conv-{channels}")
    made = graph.conv(graph.input((1, channels, 28, 28)), channels, kernel=3)
    return workload_from_model(graph.name, "block", graph.model(made), tuple(graph.weights))


def test_the_processor_takes_longer_for_more_work_and_for_what_leaves_its_cache() -> None:
    law = Roofline()
    small, large = law.cost(conv(16)), law.cost(conv(64))
    assert small.latency_ms is not None
    assert large.latency_ms is not None
    assert 4 < large.latency_ms / small.latency_ms < 16
    starved = Roofline(replace(RooflineDesign(), cache_kb=1.0, dram_gbps=0.05)).cost(conv(64))
    assert starved.latency_ms is not None
    assert starved.latency_ms > 2 * large.latency_ms
    with pytest.raises(UsageError, match="core has no parameter 'speed'"):
        roofline({"speed": "1"})
    with pytest.raises(UsageError, match="no such value"):
        roofline({"peak_gflops": "nan"})
    assert roofline({"peak_gflops": "20"}).device() != law.device()


def measured(bench: Bench, setting: LocalSetting, workloads: list[Workload], **changes: float) -> list[Measurement]:
    kept = Gathered()
    settings = replace(PRESETS["quick"], **changes)  # type: ignore[arg-type]
    tasks = [Task(one, "cell") for one in workloads]
    with bench:
        measure_group(tasks, setting.stage, settings, kept, bench)
    return kept.measurements


@pytest.mark.parametrize("name", ["virtual-nano", "virtual-pi4", "virtual:systolic:rows=8,columns=8"])
def test_latencies_come_from_visits_and_stand_where_the_law_has_them(name: str) -> None:
    setting = LocalSetting.here(chosen_profile(name))
    assert setting.device.description.startswith(MARK)
    assert setting.is_elsewhere
    made = measured(open_bench(setting.profile), setting, [conv(16), conv(64)])
    law = open_virtual(name).law
    costs = {one.graph_hash: law.cost(one).latency_ms for one in (conv(16), conv(64))}
    for one in made:
        assert one.status is Status.OK
        assert one.latency is not None
        assert one.latency.visits >= 9
        assert one.latency.lo_ms < one.latency.median_ms < one.latency.hi_ms
        assert one.latency.median_ms == pytest.approx(costs[one.graph_hash], rel=0.04)


def test_two_sessions_differ_and_two_copies_of_a_board_are_two_devices() -> None:
    setting = LocalSetting.here(chosen_profile("virtual-nano"))
    first, second = (measured(open_bench(setting.profile), setting, [conv(16)])[0].latency for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.median_ms != second.median_ms
    one, other = (open_virtual("virtual-nano", {"seed": seed}).device() for seed in ("0", "1"))
    assert one.identity != other.identity


def test_what_the_law_does_not_know_and_what_does_not_fit_are_outcomes() -> None:
    setting = LocalSetting.here(chosen_profile("virtual-nano"))
    device = open_virtual("virtual-nano")
    graph = GraphBuilder("unknown")
    made = graph.node("Det", [graph.input((1, 4, 4))], (1,))
    unknown = workload_from_model(graph.name, "block", graph.model(made), ())
    assert device.law.cost(unknown).unsupported
    found = measured(open_bench(setting.profile), setting, [unknown, conv(16)])
    assert {one.graph_hash: one.status for one in found} == {
        unknown.graph_hash: Status.UNSUPPORTED_OPERATOR, conv(16).graph_hash: Status.OK,
    }  # fmt: skip
    greedy = VirtualDevice("greedy", Greedy(), Character(1000.0), "ina3221x")
    supply = VirtualSupply("virtual-nano", 0)
    (failed,) = measured(Bench(supply, VirtualLoader(greedy)), setting, [conv(16)])
    assert failed.status is Status.OUT_OF_MEMORY
    assert failed.latency is None


class Greedy(Roofline):
    """A law by which nothing fits."""

    def cost(self, workload):
        return replace(super().cost(workload), peak_memory_bytes=1 << 40)


def test_energy_and_memory_are_measured_by_the_protocols_of_boards() -> None:
    setting = LocalSetting.here(chosen_profile("virtual-nano"))
    meter = meter_of(setting.profile, None)
    cost = asked_cost(open_virtual("virtual-nano"), conv(64))
    with open_bench(setting.profile) as bench:
        made = energy_bench(Settings(), bench, meter).measure(Task(conv(64), "energy"), setting.stage)
        (memory,) = measure_memory([conv(64)], setting.stage, Settings(), bench)
    energy = made.energy
    assert energy is not None
    assert energy.status is Reading.OK
    assert energy.gross_median_mj is not None
    assert energy.gross_systematic_mj is not None
    assert energy.overhead_mj is not None
    room = 0.03 * energy.gross_median_mj + energy.gross_systematic_mj
    assert energy.gross_median_mj == pytest.approx(cost.energy_mj, abs=room)
    assert meter.facts.driver == "virtual"
    assert memory.peak_memory is not None
    assert memory.peak_memory.peak_bytes == cost.peak_memory_bytes
    with pytest.raises(UsageError, match="no virtual sensor 'scale'"):
        meter_of(setting.profile, "scale")


def test_names_are_listed_beside_runtimes_and_a_wrong_one_is_refused() -> None:
    listed = {one.named.name: one.problem for one in list_runtimes() if one.named.runtime == "virtual"}
    assert listed == dict.fromkeys(virtual_names(), "")
    with pytest.raises(UsageError, match="no simulator 'systolid'"):
        LocalSetting.here(chosen_profile("virtual:systolid"))
    with pytest.raises(UsageError, match="no virtual device"):
        open_virtual("virtual-mars")


def test_the_commands_work_without_a_board_and_their_table_says_that_it_is_virtual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    space, runtime = ["--space", "mnasnet-a1"], ["--runtime", "virtual-nano"]
    assert main(["campaign", "run", *space, *runtime]) == 0
    assert MARK in capsys.readouterr().out
    assert main(["train", *runtime]) == 0
    assert main(["campaign", "energy", *space, "--networks", "1", *runtime, "--json"]) == 0
    said = json.loads("{" + capsys.readouterr().out.partition("\n{")[2])
    assert said["meter"]["driver"] == "virtual"
    assert {row["status"] for row in said["energies"]} == {"ok"}
    assert main(["lut", "build", *space, *runtime, "--out", str(tmp_path / "tables")]) == 0
    (table,) = (tmp_path / "tables").glob("*.json")
    provenance = json.loads(table.read_text())["provenance"]
    assert provenance["device_description"].startswith(MARK)
    assert provenance["interval"].startswith("of a virtual device, no board")
    assert "virtual" in provenance["profile_label"]
