"""Measuring a group with real runners: every attempt ends once, whatever happens to the runner or the other ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RUNNER, RunnerSupply
from edgecost.profiler.errors import RunnerError
from edgecost.profiler.loading import OrtLoader
from edgecost.profiler.measure import RESTARTS_MAX, measure_group
from edgecost.profiler.protocol import PROTOCOL, Settings
from edgecost.profiler.records import Measurement, Status, Visit
from edgecost.profiler.tasks import GroupTimes, Stage, Task
from edgecost.profiler.workload import Workload, workload_from_model
from tests.small_tasks import LOOSE, STAGE, conv, graph


def heavy() -> Task:
    """Tens of milliseconds a run, so that a runner with this task and small ones is nearly always busy with it."""
    square = np.full((1024, 1024), 1e-3, np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])]
    return graph(nodes, {"w": square}, shape=(1024, 1024))


class Kept:
    """A listener that keeps everything, and does what it is told when visits come."""

    def __init__(self, on_visits: Callable[[Kept], None] | None = None) -> None:
        self.rounds: list[list[tuple[Task, Visit]]] = []
        self.finishes: list[tuple[Task, Measurement]] = []
        self._on_visits = on_visits

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        self.rounds.append(list(visits))
        if self._on_visits is not None:
            self._on_visits(self)

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.finishes.append((task, measurement))

    def of(self, task: Task) -> Measurement:
        (only,) = [measurement for done, measurement in self.finishes if done is task]
        return only


def measure(
    tasks: Sequence[Task], settings: Settings = LOOSE, listener: Kept | None = None, stage: Stage = STAGE
) -> tuple[Kept, GroupTimes]:
    kept = listener or Kept()
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        times = measure_group(tasks, stage, settings, kept, bench)
    assert sorted(task.measurement_id for task, _ in kept.finishes) == sorted(task.measurement_id for task in tasks)
    assert runners() == []
    return kept, times


def runners() -> list[int]:
    """The living runner processes of this process, the one that measures first and the spare one after it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rsplit(")", 1)[1].split()
            command = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and str(RUNNER).encode() in command and fields[0] != "Z":
            found.append((int(fields[19]), int(place.name)))
    return [pid for _, pid in sorted(found)]


def strike(number: int) -> Callable[[Kept], None]:
    """Send a signal to the runner in the middle of a round, until it has cost one task its life."""

    def on_visits(kept: Kept) -> None:
        if all(measurement.status.has_latency for _, measurement in kept.finishes):
            (target, *_) = runners()
            timer = threading.Timer(0.03, lambda: target in runners() and os.kill(target, number))
            timer.start()
            timer.join()

    return on_visits


def test_a_measurement_says_what_it_stands_on() -> None:
    task = conv()
    kept, times = measure([task])
    found = kept.of(task)
    assert found.status in (Status.OK, Status.UNCONVERGED, Status.REJECTED)
    assert (found.measurement_id, found.graph_hash) == (task.measurement_id, task.workload.graph_hash)
    assert (found.purpose, found.protocol, found.device_identity) == ("cell", PROTOCOL, "device")
    assert found.profile_hash == STAGE.profile.profile_hash
    assert found.environment_hash == STAGE.environment.environment_hash
    assert found.started_at <= found.finished_at
    assert [visit for visits in kept.rounds for _, visit in visits] == list(found.visits)
    assert {visit.session for visit in found.visits} == {found.session}
    assert [visit.ordinal for visit in found.visits] == list(range(1, len(found.visits) + 1))
    assert times.total_s >= times.measuring_s > 0
    assert 0 <= times.outside_share <= 1


def test_two_attempts_at_one_workload_are_two_measurements() -> None:
    first = conv()
    second = replace(first, measurement_id="another")
    kept, _ = measure([first, second])
    assert kept.of(first).graph_hash == kept.of(second).graph_hash


def test_without_tasks_no_runner_is_started() -> None:
    with Bench(RunnerSupply("/no/such/interpreter"), OrtLoader()) as bench:
        assert measure_group([], STAGE, LOOSE, Kept(), bench).measuring_s == 0


def test_a_runner_that_cannot_start_is_an_error_of_the_group() -> None:
    with Bench(RunnerSupply("/no/such/interpreter"), OrtLoader()) as bench, pytest.raises(RunnerError):
        measure_group([conv()], STAGE, LOOSE, Kept(), bench)


#: No machine's canary takes a nanosecond: beside this level any machine is busy with something else.
BUSY = replace(STAGE, quiet_canary_ns=1.0)


def test_a_machine_slower_than_in_its_quiet_sessions_is_waited_for_and_then_rejected() -> None:
    task = conv()
    kept, _ = measure([task], replace(LOOSE, rounds_max=8), stage=BUSY)
    found = kept.of(task)
    assert (found.status, found.latency) == (Status.REJECTED, None)
    assert {visit.reject_reason for visit in found.visits} == {"canary"}


def test_the_last_attempt_on_a_slow_machine_is_kept_as_unstable_and_says_how_slow() -> None:
    task = replace(conv(), is_last_attempt=True)
    kept, _ = measure([task], stage=BUSY)
    found = kept.of(task)
    assert (found.status, found.latency is not None) == (Status.UNSTABLE, True)
    assert "slower than in its quiet sessions" in found.message


def test_an_interpreter_that_goes_away_half_way_leaves_every_task_rejected_with_its_visits(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)

    def unplug(kept: Kept) -> None:
        interpreter.unlink(missing_ok=True)
        for pid in runners():
            os.kill(pid, signal.SIGKILL)

    kept, tasks = Kept(unplug), [conv(), conv(8)]
    with Bench(RunnerSupply(str(interpreter)), OrtLoader()) as bench:
        measure_group(tasks, STAGE, replace(LOOSE, visits_min=40), kept, bench)
    ends = [kept.of(task) for task in tasks]
    assert {end.status for end in ends} <= {Status.REJECTED, Status.CRASHED}
    assert any(end.status is Status.REJECTED and "could not be started again" in end.message for end in ends)
    assert all(end.visits for end in ends)


HUGE = np.array([1 << 17, 1 << 17], np.int64)
FAILURES = {
    "operator that nobody knows": (
        lambda: graph([helper.make_node("Frobnicate", ["x"], ["y"])]),
        Status.UNSUPPORTED_OPERATOR,
    ),
    "operator of another domain": (
        lambda: graph([helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")], domain="acme"),
        Status.UNSUPPORTED_OPERATOR,
    ),
    "type without a kernel": (
        lambda: graph([helper.make_node("Det", ["x"], ["y"])], shape=(2, 2), kind=TensorProto.DOUBLE, out=11),
        Status.UNSUPPORTED_OPERATOR,
    ),
    "shapes that contradict": (
        lambda: graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((3, 3), np.float32)}),
        Status.INVALID_MODEL,
    ),
    "dynamic input": (lambda: graph([helper.make_node("Relu", ["x"], ["y"])], shape=("n", 8)), Status.INVALID_MODEL),
    "input of words": (
        lambda: graph([helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.STRING, out=TensorProto.STRING),
        Status.INVALID_MODEL,
    ),
    "index out of range": (
        lambda: graph([helper.make_node("Gather", ["x", "i"], ["y"])], {"i": np.array([99, 98])}),
        Status.INVALID_MODEL,
    ),
    "root of negative numbers": (lambda: graph([helper.make_node("Sqrt", ["x"], ["y"])]), Status.INVALID_OUTPUT),
    "memory inside": (
        lambda: graph(
            [
                helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
                helper.make_node("Expand", ["s", "huge"], ["e"]),
                helper.make_node("ReduceSum", ["e"], ["y"], keepdims=0),
            ],
            {"huge": HUGE},
        ),
        Status.OUT_OF_MEMORY,
    ),
    "memory of the output": (
        lambda: graph([helper.make_node("Expand", ["x", "huge"], ["y"])], {"huge": HUGE}, shape=(1, 1)),
        Status.OUT_OF_MEMORY,
    ),
    "memory of the input": (
        lambda: graph([helper.make_node("Relu", ["x"], ["y"])], shape=(1 << 17, 1 << 17)),
        Status.OUT_OF_MEMORY,
    ),
}


def test_every_failure_is_recorded_as_what_it_is_and_the_others_get_a_latency() -> None:
    bad = {name: make() for name, (make, _) in FAILURES.items()}
    good = [conv(), conv(8)]
    kept, _ = measure([good[0], *bad.values(), good[1]], replace(LOOSE, memory_limit_bytes=8 << 30))
    assert {name: kept.of(task).status for name, task in bad.items()} == {
        name: status for name, (_, status) in FAILURES.items()
    }
    for task in bad.values():
        found = kept.of(task)
        assert (found.latency, found.visits) == (None, ())
        assert found.message
    for task in good:
        assert kept.of(task).latency is not None


def test_graphs_with_unusual_outputs_are_measured() -> None:
    tasks = [
        graph([helper.make_node("NonZero", ["x"], ["y"])], out=TensorProto.INT64),
        graph([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]),
        graph([helper.make_node("Less", ["x", "x"], ["y"])], out=TensorProto.BOOL),
        graph([helper.make_node("Relu", ["x"], ["y"])], shape=()),
    ]
    sequence = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(sequence, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    tasks.append(Task(workload_from_model("sequence", "operator", model), "cell"))
    wrong = conv().workload
    lying = onnx.load_model_from_string(wrong.skeleton)
    lying.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 5
    tasks.append(Task(workload_from_model("lying", "operator", lying, wrong.weights), "cell"))
    kept, _ = measure(tasks)
    assert [kept.of(task).message for task in tasks if not kept.of(task).visits] == []


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGSEGV, Status.SEGFAULT), (signal.SIGKILL, Status.CRASHED), (signal.SIGSTOP, Status.TIMEOUT)],
)
def test_the_death_of_a_runner_costs_one_task_and_the_others_keep_their_visits(number: int, status: Status) -> None:
    tasks = [conv(), heavy(), conv(8)]
    kept, _ = measure(tasks, replace(LOOSE, visits_min=4, visit_timeout_s=2.0), Kept(strike(number)))
    statuses = [kept.of(task).status for task in tasks]
    assert statuses.count(status) == 1
    (victim,) = [kept.of(task) for task in tasks if kept.of(task).status is status]
    assert victim.latency is None
    assert victim.visits
    assert "SIG" in victim.message or "no answer within 2 s" in victim.message
    for task in tasks:
        found = kept.of(task)
        if found is not victim:
            assert found.latency is not None
            assert len({visit.session for visit in found.visits}) > 1
            assert [visit for visits in kept.rounds for done, visit in visits if done is task] == list(found.visits)


def test_a_runner_that_always_dies_ends_the_group() -> None:
    killed = set()

    def kill(kept: Kept) -> None:
        session = kept.rounds[-1][0][1].session
        if session not in killed:  # the answers of one more round may still be on their way
            killed.add(session)
            os.kill(runners()[0], signal.SIGKILL)

    tasks = [conv(channels) for channels in range(1, RESTARTS_MAX + 6)]
    kept, _ = measure(tasks, replace(LOOSE, visits_min=50, visits_max=50), Kept(kill))
    assert {kept.of(task).status for task in tasks} == {Status.CRASHED}
    assert len(killed) == RESTARTS_MAX + 1
    assert any("given up after" in kept.of(task).message for task in tasks)


def test_a_provider_that_falls_back_gives_no_latency() -> None:
    stage = replace(STAGE, profile=replace(STAGE.profile, provider="CUDAExecutionProvider"))
    tasks = [conv(), conv(8)]
    kept, _ = measure(tasks, stage=stage)
    for task in tasks:
        found = kept.of(task)
        assert (found.status, found.latency, found.overhead_ms) == (Status.PROVIDER_FALLBACK, None, None)
        assert "asked for CUDAExecutionProvider, the runtime took CPUExecutionProvider" in found.message


def test_an_interruption_ends_the_runner_and_passes_on() -> None:
    def interrupt(kept: Kept) -> None:
        # A process that was started this moment has no command line yet.
        deadline = time.monotonic() + 10
        while len(runners()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(runners()) == 2
        raise KeyboardInterrupt

    kept = Kept(interrupt)
    with Bench(RunnerSupply(), OrtLoader()) as bench:
        with pytest.raises(KeyboardInterrupt):
            measure_group([conv(), conv(8)], STAGE, LOOSE, kept, bench)
        assert len(runners()) == 1  # the spare one
    assert runners() == []
    assert (len(kept.rounds), kept.finishes) == (1, [])


def test_time_that_is_up_ends_every_task_with_what_there_is() -> None:
    tasks = [conv(), conv(8)]
    kept, _ = measure(tasks, replace(LOOSE, visits_min=3, group_max_s=0.0))
    for task in tasks:
        found = kept.of(task)
        assert (found.status, found.latency) == (Status.REJECTED, None)
        assert len(found.visits) == 1
        assert "1 visits valid, 3 are needed" in found.message


def test_the_limit_of_visits_ends_a_task_unconverged_with_a_number() -> None:
    task = conv()
    kept, _ = measure([task], replace(LOOSE, target=-1.0, visits_min=4, visits_max=4))  # no interval is that narrow
    found = kept.of(task)
    assert found.status is Status.UNCONVERGED
    assert found.latency is not None
    assert (found.latency.visits, len(found.visits) - found.rejected_visits) == (4, 4)


def test_an_overhead_is_measured_beside_the_tasks() -> None:
    task = conv()
    kept, _ = measure([task])
    found = kept.of(task)
    assert found.overhead_ms is None or found.overhead_ms >= 0
    assert all(done is task for visits in kept.rounds for done, _ in visits)


def test_a_file_is_measured_with_its_own_weights(tmp_path: Path) -> None:
    def root_of_sum(shift: float) -> Workload:
        nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Sqrt", ["a"], ["y"])]
        return graph(nodes, {"w": np.full(8, shift, np.float32)}).workload

    (tmp_path / "net.onnx").write_bytes(root_of_sum(100).skeleton)
    bare = Task(root_of_sum(-100), "cell")
    with_file = Task(replace(bare.workload, path=str(tmp_path / "net.onnx")), "profile")
    kept, _ = measure([bare, with_file])
    assert kept.of(bare).status is Status.INVALID_OUTPUT
    assert kept.of(with_file).visits
