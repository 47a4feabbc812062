"""What moves while a group is measured: the environment, its conditions, the wall clock, the time that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

import pytest
from onnx import helper

from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RunnerSupply
from edgecost.profiler.conclusion import limit_status
from edgecost.profiler.loading import OrtLoader
from edgecost.profiler.measure import CLOCK_STEP_S, describe_change, measure_group
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Environment, Measurement, Status, Visit
from edgecost.profiler.tasks import Stage, Task
from tests.small_tasks import LOOSE, STAGE, conv, graph


class Kept:
    """A listener that keeps how each attempt ended."""

    def __init__(self) -> None:
        self.finishes: list[tuple[Task, Measurement]] = []

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        """The measurement brings its visits."""

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.finishes.append((task, measurement))

    def of(self, task: Task) -> Measurement:
        (only,) = [measurement for done, measurement in self.finishes if done is task]
        return only


def measure(tasks: Sequence[Task], settings: Settings = LOOSE, stage: Stage = STAGE) -> Kept:
    kept = Kept()
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        measure_group(tasks, stage, settings, kept, bench)
    return kept


def test_what_nobody_wants_any_more_ends_without_a_word_and_the_rest_is_measured() -> None:
    wanted, unwanted = conv(), conv(8)
    stage = replace(STAGE, is_unwanted=lambda name: name == unwanted.measurement_id)
    assert [task for task, _ in measure([wanted, unwanted], stage=stage).finishes] == [wanted]
    assert measure([unwanted], stage=stage).finishes == []


def test_an_environment_that_changes_rejects_every_waiting_task_and_says_what_changed() -> None:
    looks = []

    def look() -> Environment:
        looks.append(len(looks))
        return Environment({"test": True, "governor": "powersave"}) if len(looks) > 1 else STAGE.environment

    tasks = [conv(), conv(8)]
    kept = Kept()
    stage = replace(STAGE, read_environment=look)
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        # The first look, at the end of the first group, finds what was there; all later ones find the change.
        measure_group(tasks[:1], stage, replace(LOOSE, visits_min=6), kept, bench)
        measure_group(tasks[1:], stage, LOOSE, kept, bench)
    first, second = (kept.of(task) for task in tasks)
    assert "changed" not in first.message
    assert (second.status, second.latency) == (Status.REJECTED, None)
    assert second.message == "the environment changed during the measurement (governor: None → powersave)"
    assert second.visits
    assert second.environment_hash == STAGE.environment.environment_hash


def test_a_change_costs_all_that_are_still_open_and_a_new_stage_measures_them() -> None:
    now = Environment({"test": True, "governor": "powersave"})
    tasks = [conv(channels) for channels in (4, 8, 16)]
    kept = measure(tasks, stage=replace(STAGE, read_environment=lambda: now))
    assert [(kept.of(task).status, kept.of(task).latency) for task in tasks] == [(Status.REJECTED, None)] * 3
    again = [replace(task, measurement_id=f"again {place}") for place, task in enumerate(tasks)]
    kept = measure(again, stage=replace(STAGE, environment=now, read_environment=lambda: now))
    for task in again:
        assert kept.of(task).environment_hash == now.environment_hash
        assert "environment changed" not in kept.of(task).message


def test_a_change_is_described_by_the_entries_that_differ() -> None:
    before, after = Environment({"a": 1, "b": 2, "c": 3}), Environment({"a": 1, "b": 5, "d": None, "e": [4]})
    assert describe_change(before, before) == ""
    assert describe_change(before, after).endswith("(b: 2 → 5, c: 3 → None, e: None → [4])")


def test_the_conditions_around_a_measurement_are_kept_with_it() -> None:
    readings = iter(range(100))
    stage = replace(STAGE, read_conditions=lambda: {"load_1min": next(readings)})
    tasks = [conv(), graph([helper.make_node("Sqrt", ["x"], ["y"])])]
    kept = measure(tasks, stage=stage)
    good, bad = (kept.of(task) for task in tasks)
    assert good.conditions["before"] == bad.conditions["before"] == {"load_1min": 0}
    after = [found.conditions["after"]["load_1min"] for found in (bad, good)]  # type: ignore[index, call-overload]
    assert after == sorted(after)
    assert after[0] > 0
    for name in ("load_ms", "first_run_ms"):
        assert good.conditions[name] > 0  # type: ignore[operator]
        assert name not in bad.conditions
    assert good.conditions["compile_ms"] is None
    assert "wall_clock_step_s" not in good.conditions


def test_without_anybody_to_ask_the_conditions_hold_what_loading_said() -> None:
    task = conv()
    kept = measure([task])
    assert set(kept.of(task).conditions) == {"canary_us", "load_ms", "first_run_ms", "compile_ms"}


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_wall_clock_that_is_set_during_a_group_is_told_and_no_measurement_ends_before_it_began(
    step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class SetClock(datetime):
        """A clock that somebody sets after it was looked at once."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            asked.append(tz)
            return datetime.now(tz) + timedelta(seconds=step_s if len(asked) > 1 else 0)

    monkeypatch.setattr("edgecost.profiler.measure.datetime", SetClock)
    task = conv()
    kept = measure([task])
    found = kept.of(task)
    assert found.conditions["wall_clock_step_s"] == pytest.approx(step_s, abs=CLOCK_STEP_S)
    begin, end = (datetime.fromisoformat(stamp) for stamp in (found.started_at, found.finished_at))
    assert timedelta(0) <= end - begin < timedelta(seconds=abs(step_s) / 2)


def test_the_end_of_the_time_is_the_last_attempt_of_a_task_that_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(visits: Sequence[Visit], settings: Settings, *, is_last: bool = False) -> tuple[Status, str]:
        asked.append((is_last, settings.group_max_s))
        return limit_status(visits, settings, is_last=is_last)

    monkeypatch.setattr("edgecost.profiler.measure.limit_status", watched)
    once, again = replace(conv(), is_last_when_late=True), conv(8)
    settings = replace(LOOSE, target=-1.0)  # no interval is that narrow
    measure([once], replace(settings, group_max_s=0.0))
    measure([again], replace(settings, group_max_s=0.0))
    measure([once], replace(settings, visits_min=3, visits_max=3))
    assert [is_last for is_last, _ in asked] == [True, False, False]
