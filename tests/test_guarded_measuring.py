"""What becomes of measurements while the guards see a fault: attempts that say why, and energies that do not count."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgecost.devices.commands import RecordedCommands
from edgecost.devices.guards import board_watch
from edgecost.devices.host_stage import host_stage
from edgecost.devices.sensors import open_meter
from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RunnerSupply
from edgecost.profiler.energy.measure import EnergyBench
from edgecost.profiler.energy.windows import EnergySettings
from edgecost.profiler.loading import OrtLoader
from edgecost.profiler.measure import measure_group
from edgecost.profiler.readings import Reading
from edgecost.profiler.records import Json, Measurement, Status
from edgecost.profiler.tasks import Gathered, Stage, Task
from edgecost.profiler.watching import Affects, Fault
from tests.recorded_trees import ORIN, grow
from tests.small_tasks import LOOSE, STAGE, conv

#: A meter that says 3 W a hundred times a second.
METER_PROGRAM = """
import time
while True:
    print(f"{time.monotonic()},3.0", flush=True)
    time.sleep(0.01)
"""
#: One short window, and no second chance.
BRIEF = EnergySettings(window_min_s=0.05, readings_min=5, edge_error=1.0, rejected_max=0)
THROTTLED = Fault("throttled", "oc3_event_cnt grew by 7")


class Seen:
    """A watch that sees what it is told to."""

    def __init__(self, *faults: Fault, waited: Mapping[str, Json] | None = None) -> None:
        self.told = faults
        self.waited = waited or {}
        self.waits = 0
        self.is_watching = False

    def wait(self) -> Mapping[str, Json]:
        self.waits += 1
        assert not self.is_watching, "waiting is no part of the time that is judged"
        return self.waited

    @contextmanager
    def watching(self, period_s: float) -> Iterator[Seen]:
        assert period_s > 0
        self.is_watching = True
        yield self
        self.is_watching = False

    def faults(self) -> tuple[Fault, ...]:
        return self.told

    def faults_between(self, begin_ns: int, end_ns: int, *, is_busy: bool) -> tuple[Fault, ...]:
        assert begin_ns < end_ns
        del is_busy
        return self.told

    def seen(self) -> Mapping[str, Json]:
        assert self.is_watching
        return {"meanwhile": {"looks": 2}}


def measured(tasks: Sequence[Task], stage: Stage) -> list[Measurement]:
    kept = Gathered()
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        measure_group(tasks, stage, LOOSE, kept, bench)
    return kept.measurements


def test_a_board_that_throttled_rejects_all_that_wait_and_says_why() -> None:
    watch = Seen(THROTTLED)
    found = measured([conv(), conv(8)], replace(STAGE, watch=watch))
    assert [(one.status, one.latency) for one in found] == [(Status.REJECTED, None)] * 2
    assert {one.message for one in found} == {"throttled: oc3_event_cnt grew by 7"}
    assert all(one.visits for one in found)
    assert (watch.waits, watch.is_watching) == (1, False)


def test_the_last_attempt_on_a_throttling_board_is_kept_and_not_used() -> None:
    (one,) = measured([replace(conv(), is_last_attempt=True)], replace(STAGE, watch=Seen(THROTTLED)))
    assert one.status is Status.UNSTABLE
    assert one.latency is not None
    assert "throttled" in one.message


def test_what_spoils_energies_alone_leaves_latencies_as_they_are() -> None:
    other = Fault("foreign_load", "other programs took 40% of a CPU", Affects.ENERGY)
    (one,) = measured([conv()], replace(STAGE, watch=Seen(other)))
    assert "foreign_load" not in one.message


def test_a_board_that_was_still_hot_says_so_beside_the_measurement() -> None:
    waited: dict[str, Json] = {"cooldown_s": 180.0, "hot_start": "CPU-therm 71.0 °C, 24.5 above its coolest"}
    (one,) = measured([conv()], replace(STAGE, watch=Seen(waited=waited)))
    assert {name: one.conditions[name] for name in waited} == waited


def test_what_moved_meanwhile_stands_beside_the_measurement(tmp_path: Path) -> None:
    (latency,) = measured([conv()], replace(STAGE, watch=Seen()))
    assert latency.conditions["meanwhile"] == {"looks": 2}
    watch = board_watch(grow(tmp_path, ORIN), RecordedCommands({}))
    (real,) = measured([conv()], host_stage(STAGE.profile, "board", watch=watch))
    told = real.conditions["meanwhile"]
    assert isinstance(told, dict)
    assert told["clocks_mhz"] == {"GPU 17000000.ga10b": {"min": 624.75, "mean": 624.75, "max": 624.75}}
    assert told["temperatures_celsius"] == {"AO-therm": {"min": 41.5, "mean": 41.5, "max": 41.5}}


def test_a_real_watch_rejects_a_group_in_which_a_counter_grew(tmp_path: Path) -> None:
    watch = board_watch(grow(tmp_path, ORIN), RecordedCommands({}))
    stage = host_stage(STAGE.profile, "board", watch=watch)
    counter = "sys/class/hwmon/hwmon3/oc3_event_cnt"

    class Growing(Gathered):
        def visited(self, visits: object) -> None:
            grow(tmp_path, {counter: "99"})

    kept = Growing()
    task = conv()
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        measure_group([task], stage, replace(LOOSE, visits_min=8), kept, bench)
    (one,) = kept.measurements
    assert one.status is Status.REJECTED
    assert "throttled: oc3_event_cnt grew by 58" in one.message


def test_a_watch_changes_nothing_of_the_environment(tmp_path: Path) -> None:
    watch = board_watch(grow(tmp_path, ORIN), RecordedCommands({}))
    stages = [host_stage(STAGE.profile, "board"), host_stage(STAGE.profile, "board", watch=watch)]
    assert len({stage.environment.environment_hash for stage in stages}) == 1
    assert stages[0] == stages[1]
    assert (stages[0].watch is None, stages[1].watch is None) == (True, False)


def test_energies_of_a_throttling_board_are_rejected_by_the_same_watch() -> None:
    meter = open_meter("exec:" + shlex.join([sys.executable, "-u", "-c", METER_PROGRAM]))
    watch = Seen(THROTTLED, waited={"cooldown_s": 4.0})
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        one = EnergyBench(LOOSE, bench, meter, BRIEF).measure(conv(), replace(STAGE, watch=watch))
    assert one.energy is not None
    assert (one.energy.status, one.energy.gross_median_mj) == (Reading.REJECTED, None)
    assert "throttled: oc3_event_cnt grew by 7" in one.energy.message
    assert one.conditions["cooldown_s"] == 4.0
    assert one.conditions["meanwhile"] == {"looks": 2}
    assert (watch.waits, watch.is_watching) == (1, False)
