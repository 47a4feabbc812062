"""Energies of single rails: found by name, read without harm to the whole, in its windows, and never added up."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.db import Store
from edgecost.devices.commands import Answer, RecordedCommands
from edgecost.devices.sensors import find_sensors
from edgecost.devices.sensors.sampler import SensorMeter
from edgecost.devices.sensors.source import FoundSensor, Known, Railed, Sum
from edgecost.devices.virtual.load import VirtualLoad
from edgecost.devices.virtual.machine import Faults, Machine
from edgecost.devices.virtual.sensors import RAILS, SENSORS, SensorError, VirtualMeter
from edgecost.devices.virtual.trials import STEADY, play
from edgecost.profiler.energy.estimate import estimate
from edgecost.profiler.energy.meter import Counts, MeterFacts
from edgecost.profiler.energy.rails import RailedMeter, RailedRecording, rails_of, sensors_of
from edgecost.profiler.energy.session import EnergySession
from edgecost.profiler.energy.windows import EnergySettings, Window
from edgecost.profiler.readings import Reading
from edgecost.profiler.weights import complete
from tests.small_tasks import conv
from tests.test_sensors import NO_PROGRAMS, PMIC, RAPL, hwmon, nano, rapl, tree

FACTS = MeterFacts("m", "virtual", "", "module", Counts.POWER, None, 0.02)


def parents(sensor: FoundSensor) -> dict[str, str]:
    return {facts.rail: facts.parent for facts in sensor.rails}


def test_rails_of_a_module_stand_beside_its_whole_and_say_what_includes_them(tmp_path: Path) -> None:
    (whole,) = find_sensors(nano(tmp_path), NO_PROGRAMS).whole
    assert parents(whole) == {"POM_5V_GPU": "POM_5V_IN", "POM_5V_CPU": "POM_5V_IN"}
    assert [facts.scope for facts in whole.rails] == ["gpu", "cpu"]
    opened = whole.open()
    assert isinstance(opened, Railed)
    assert (opened.read(), [rail.read() for rail in opened.rails]) == (1600.0, [900.0, 200.0])


def test_a_rail_inside_another_names_it_and_those_of_a_sum_name_the_sum(tmp_path: Path) -> None:
    hwmon(tmp_path, 1, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], place="1-0040")
    hwmon(tmp_path, 2, ["NC", "VDDQ_VDD2_1V8AO", "NC"], place="1-0041")
    (whole,) = find_sensors(tmp_path, NO_PROGRAMS).whole
    summed = "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0"
    assert parents(whole) == {
        "VDD_GPU_SOC": summed, "VDD_CPU_CV": summed, "VIN_SYS_5V0": summed, "VDDQ_VDD2_1V8AO": "VIN_SYS_5V0",
    }  # fmt: skip
    opened = whole.open()
    assert isinstance(opened, Railed)
    assert opened.read() == 500.0 + 1000.0 + 1500.0
    assert [rail.read() for rail in opened.rails] == [500.0, 1000.0, 1500.0, 1000.0]


def test_zones_of_two_sockets_have_two_names_and_memory_is_in_no_package(tmp_path: Path) -> None:
    rapl(tmp_path)
    files = {}
    for zone, name in ((":1", "package-1"), (":0:0", "dram"), (":1:0", "dram"), (":0:1", "core"), (":2", "psys")):
        folder = RAPL.removesuffix(":0") + zone
        files |= {f"{folder}/name": name, f"{folder}/energy_uj": "500000", f"{folder}/max_energy_range_uj": "4000000"}
    (whole,) = find_sensors(tree(tmp_path, files), NO_PROGRAMS).whole
    assert parents(whole) == {
        "package-0": "rapl package-0+package-1", "package-1": "rapl package-0+package-1",
        "package-0 core": "package-0", "package-0 dram": "", "package-1 dram": "", "psys": "",
    }  # fmt: skip
    opened = whole.open()
    assert isinstance(opened, Railed)
    assert opened.read() == 1500.0
    assert [rail.read() for rail in opened.rails][:2] == [1000.0, 500.0]


class Counting(RecordedCommands):
    """A program that says how often it was asked."""

    asked = 0

    def run(self, argv: tuple[str, ...]) -> Answer | None:
        self.asked += 1
        return super().run(argv)


def test_all_rails_of_a_pmic_come_from_one_question_to_the_firmware(tmp_path: Path) -> None:
    asked = Counting({("vcgencmd", "pmic_read_adc"): Answer(PMIC, "", 0)})
    (whole,) = find_sensors(tmp_path, asked).whole
    assert parents(whole) == {"3V7_WL_SW": "pmic", "HDMI": "pmic", "VDD_CORE": "pmic"}
    opened = whole.open()
    assert isinstance(opened, Railed)
    before = asked.asked
    total = opened.read()
    assert sum(rail.read() for rail in opened.rails) == pytest.approx(total)
    assert asked.asked == before + 1


class Broken:
    """A rail that gives nothing any more from its second reading on."""

    def __init__(self) -> None:
        self.readings = itertools.count()

    def read(self) -> float:
        if next(self.readings):
            raise OSError("gone")
        return 5.0

    def close(self) -> None:
        """Nothing is open."""


def test_what_was_not_read_this_time_is_not_said_again() -> None:
    whole = Sum([Broken(), Known(lambda: 7.0)])
    assert whole.read() == 12.0
    assert (whole.last(0), whole.last(1)) == (5.0, 7.0)
    with pytest.raises(OSError, match="gone"):
        whole.read()
    for at in (0, 1):
        with pytest.raises(OSError, match="not read"):
            whole.last(at)


class Slow:
    """A rail whose reading takes two milliseconds of a core."""

    def read(self) -> float:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        return 1.0

    def close(self) -> None:
        """Nothing is open."""


def test_rails_that_cost_much_are_read_in_turns_and_do_not_slow_down_the_whole() -> None:
    names = ("A", "B", "C")
    rails = tuple(replace(FACTS, name=name, rail=name) for name in names)
    found = FoundSensor(FACTS, lambda: Railed(Known(lambda: 2.0), [Slow() for _ in names]), rails=rails)
    meter = SensorMeter(found)
    assert isinstance(meter, RailedMeter)
    assert meter.facts.period_s == FACTS.period_s
    # Six milliseconds of each stride are one per cent of it.
    assert {facts.period_s for facts in meter.rails} <= {FACTS.period_s * 3 * 2**n for n in range(3, 9)}
    with meter.recording() as recording:
        assert isinstance(recording, RailedRecording)
        while not all(trace.times_ns for trace in recording.rail_traces()):
            time.sleep(0.05)
        whole, parts = recording.trace(), recording.rail_traces()
    assert all(set(trace.values) == {1.0} for trace in parts)
    assert len(whole.times_ns) > sum(len(trace.times_ns) for trace in parts)


def session(faults: Faults = STEADY.faults) -> EnergySession:
    machine = Machine(replace(STEADY, faults=faults), 3)
    meter = VirtualMeter(
        machine, SENSORS["ina3221x"], 3, error=SensorError(), rails=RAILS["ina3221x"]
    )  # fmt: skip
    return play(VirtualLoad(machine, 8.0, 4000.0), meter, 3)


def test_a_rail_takes_its_share_of_what_the_machine_takes_and_one_that_idles_has_no_number() -> None:
    made = session()
    cpu, gpu = made.rails
    assert made.energy.net_median_mj is not None
    assert cpu.energy.net_median_mj is not None
    assert cpu.energy.net_systematic_mj is not None
    share = RAILS["ina3221x"][0].of_load
    room = 0.02 * cpu.energy.net_median_mj + cpu.energy.net_systematic_mj
    assert cpu.energy.net_median_mj == pytest.approx(share * made.energy.net_median_mj, abs=room)
    assert (gpu.energy.status, gpu.energy.gross_median_mj) == (Reading.BELOW_RESOLUTION, None)
    assert gpu.energy.idle_mw is not None
    assert len(cpu.windows) == len(made.windows)
    assert [(one.runs, one.active_s) for one in cpu.windows] == [(one.runs, one.active_s) for one in made.windows]


def test_the_whole_is_the_same_whether_rails_are_read_beside_it_or_not() -> None:
    machine = Machine(STEADY, 3)
    alone = play(
        VirtualLoad(machine, 8.0, 4000.0), VirtualMeter(machine, SENSORS["ina3221x"], 3, error=SensorError()), 3
    )
    assert alone.rails == ()
    assert alone.energy == session().energy


def test_a_window_that_does_not_count_for_the_whole_counts_for_no_rail() -> None:
    made = session(Faults(undervoltage_per_s=0.5))
    assert made.energy.status is Reading.REJECTED
    for rail in made.rails:
        assert rail.energy.status is Reading.REJECTED
        assert [bool(one.reason) for one in rail.windows] == [bool(one.reason) for one in made.windows]


def test_a_rail_that_reads_nothing_but_zero_has_no_energy() -> None:
    windows = [Window(100, 2.0, 0.0, 0.0)] * 6
    made = estimate(windows, replace(FACTS, name="pmic DDR_VDDQ"), EnergySettings())
    assert (made.status, made.gross_median_mj) == (Reading.BELOW_RESOLUTION, None)
    assert "pmic DDR_VDDQ reads 0 mW" in made.message


def test_a_meter_without_rails_has_one_sensor_and_its_hash_is_what_it_was(tmp_path: Path) -> None:
    meter = SensorMeter(FoundSensor(FACTS, lambda: Known(lambda: 1.0)))
    assert rails_of(meter) == ()
    assert sensors_of(meter) == [meter.facts.sensor()]
    assert "parent" not in meter.facts.document()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "block.onnx"
    block = conv(64).workload
    path.write_bytes(complete(block.skeleton, block.weights))
    return path


def test_profile_tells_rails_and_the_database_shows_them_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = ["--db", str(tmp_path / "store.sqlite")]
    runtime = ["--runtime", "virtual-nano", "--energy", "--preset", "quick"]
    assert main(["profile", str(model), *runtime, *database, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["energy"]
    assert {name: (one["scope"], one["parent"]) for name, one in said["rails"].items()} == {
        "VIRTUAL_5V_CPU": ("cpu", "virtual ina3221x"), "VIRTUAL_5V_GPU": ("gpu", "virtual ina3221x"),
    }  # fmt: skip
    assert all(len(one["windows_made"]) == len(said["windows_made"]) for one in said["rails"].values())
    assert main(["db", "show", said["measurement_id"], *database, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["energy"] == said
    assert shown["device"].startswith("virtual: ")
    assert main(["db", "show", said["measurement_id"], *database]) == 0
    told = capsys.readouterr().out
    assert "VIRTUAL_5V_CPU" in told
    assert "below resolution" in told
    with Store(str(tmp_path / "store.sqlite")) as store:
        rails = store.browsing.measurement(said["measurement_id"]).rails
        assert all(store.sensor(one.sensor_hash or "") is not None for one in rails.values())


def test_a_measurement_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = str(tmp_path / "store.sqlite")
    assert main(["db", "show", "ffff", "--db", database]) == 2
    with Store(database):
        pass
    assert main(["db", "show", "ffff", "--db", database]) == 2
    assert "no measurement ffff" in capsys.readouterr().err
