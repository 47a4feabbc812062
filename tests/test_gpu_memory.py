"""Memory of NVIDIA GPUs without one: what polls come to, and runners whose own memory stands for a GPU's."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.cli.main import main
from edgecost.db import Store
from edgecost.devices.gpu_memory import DEVICE, PROCESS, RESOLUTION_BYTES, GpuMemory, Poll, Sight, gpu_memory, held
from edgecost.devices.guards.nvidia import find_gpus
from edgecost.profiler.bench import Bench
from edgecost.profiler.device_memory import DeviceMemory, Held, device_peak
from edgecost.profiler.errors import UsageError
from edgecost.profiler.loading import OrtLoader
from edgecost.profiler.memory import METHOD, measure_memory
from edgecost.profiler.protocol import Settings, runner_rules
from edgecost.profiler.readings import PeakMemory, Reading
from edgecost.profiler.records import Measurement, RuntimeProfile
from edgecost.profiler.runner import Runner
from edgecost.profiler.runtimes import host_profile
from tests.small_tasks import STAGE
from tests.test_memory import heavy, model_file

MB = 1 << 20
ON_CUDA = replace(host_profile(), provider="CUDAExecutionProvider")
RUNNER = 7


@dataclass
class User:
    pid: int
    usedGpuMemory: int | None  # noqa: N815  # its name


@dataclass
class Info:
    used: int


@dataclass
class LittleNvml:
    """As much of NVIDIA's library as is used, for a machine without one: a GPU that each runner uses as its own memory.

    Attributes:
        tells_shares: whether it says how much of the GPU is whose.
        shift: between the number of a process here and the one that the library knows it by.
        others: processes of somebody else, with what they hold.
    """

    tells_shares: bool = True
    shift: int = 0
    others: Mapping[int, int | None] = field(default_factory=dict)
    drawing: tuple[int, ...] = ()
    divided: bool = False

    class NVMLError(Exception):
        """What the library raises."""

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return index

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]:  # noqa: N802
        return [int(self.divided), 0]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object) -> list[User]:  # noqa: N802
        return [User(one, 1) for one in self.drawing]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[User]:  # noqa: N802
        found = {pid + self.shift: size if self.tells_shares else None for pid, size in loaded_runners().items()}
        return [User(pid, size) for pid, size in {**found, **self.others}.items()]

    def nvmlDeviceGetMemoryInfo(self, handle: object, version: int | None = None) -> Info:  # noqa: N802
        if version is not None:
            raise self.NVMLError("Function Not Found")
        return Info(500 * MB + sum(loaded_runners().values()) + sum(size or 0 for size in self.others.values()))


def loaded_runners() -> dict[int, int]:
    """The runners that this process has started, with their memory."""
    found = {}
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with suppress(OSError):
            if "runner.py" in Path(f"/proc/{pid}/cmdline").read_text():
                found[int(pid)] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {pid: size for pid, size in found.items() if size}


def measured(nvml: LittleNvml, *, sees_all: bool = True) -> tuple[Measurement, PeakMemory]:
    memory = gpu_memory(ON_CUDA, nvml, sees_all=sees_all)  # type: ignore[arg-type]  # as much as is used
    with Bench.for_profile(STAGE.profile) as bench:
        (made,) = measure_memory([heavy(32)], STAGE, Settings(), bench, repetitions=1, device_memory=memory)
    assert made.peak_memory is not None
    return made, made.peak_memory


def test_a_model_of_known_weights_holds_at_least_these() -> None:
    made, memory = measured(LittleNvml(others={999_999: 5 * MB}))
    assert (memory.status, memory.method, memory.message) == (Reading.OK, f"{METHOD}+{PROCESS}", "")
    assert (memory.process_method, memory.device_method) == (METHOD, PROCESS)
    assert memory.device_bytes is not None
    # What stands for the GPU's memory is the runner's own: while it was loaded it held file, weights and copies.
    assert 32 * MB <= memory.device_bytes < 200 * MB
    told = made.conditions["device_memory"]
    assert isinstance(told, dict)
    assert told["resolution_bytes"] == RESOLUTION_BYTES
    assert isinstance(told["held_peak_bytes"], list)
    assert isinstance(told["overhead_bytes"], int)
    assert told["held_peak_bytes"][0] == memory.device_bytes + told["overhead_bytes"]


def test_in_a_container_the_use_of_all_the_gpu_stands_for_a_runner_that_is_alone_there() -> None:
    _, memory = measured(LittleNvml(shift=1 << 22), sees_all=False)
    assert (memory.device_method, memory.message) == (DEVICE, "")
    assert memory.device_bytes is not None
    assert 32 * MB <= memory.device_bytes < 200 * MB


def test_where_nobody_can_say_whose_it_is_there_is_the_reason_and_no_number() -> None:
    made, memory = measured(LittleNvml(tells_shares=False, drawing=(5,)))
    assert (memory.status, memory.method, memory.device_bytes) == (Reading.OK, METHOD, None)
    assert memory.message == (
        "on the GPU: NVML does not tell what each process holds, and 1 other process used the GPU meanwhile"
    )
    told = made.conditions["device_memory"]
    assert isinstance(told, dict)
    assert (told["status"], told["peak_bytes"], told["overhead_bytes"]) == ("unsupported", None, None)


WHOLE = Poll({RUNNER: None}, used_bytes=9)


@pytest.mark.parametrize(
    ("polls", "sight", "why"),
    [
        ([Poll({RUNNER: 5}), Poll(None)], Sight(), "does not tell who uses the GPU"),
        ([Poll({RUNNER: 5}), Poll({})], Sight(), "lists nobody on the GPU, not even the runner"),
        ([Poll({RUNNER: 5}), Poll({2: 5})], Sight(), "does not list the runner"),
        ([WHOLE], Sight(is_divided=True), "and the GPU is divided (MIG)"),
        ([Poll(None, used_bytes=9), WHOLE], Sight(), "nor always who is there"),
        ([Poll({2: 5, 3: 5}, used_bytes=9), WHOLE], Sight(), "2 other processes used the GPU meanwhile"),
        ([Poll({2: 5}), Poll({3: 5})], Sight(sees_all=False), "have other numbers, and 1 other process used"),
        ([Poll({}), WHOLE], Sight(), "nor what is used altogether"),
        ([Poll({}, used_bytes=0), replace(WHOLE, used_bytes=0)], Sight(), "nor what is used altogether"),
    ],
)  # fmt: skip
def test_each_reason_is_told(polls: list[Poll], sight: Sight, why: str) -> None:
    found = held(polls, lambda process: process == RUNNER, sight)
    assert why in found.message
    assert (found.method, found.peak_bytes, found.end_bytes) == ("", None, None)


def test_a_gpu_on_which_nobody_was_yet_begins_at_0() -> None:
    polls = [Poll({}, used_bytes=0), replace(WHOLE, used_bytes=12), WHOLE]
    assert held(polls, lambda process: process == RUNNER, Sight()) == Held(DEVICE, "", 12, 9, 3)


SHARES = st.dictionaries(st.integers(2, 9), st.none() | st.integers(1, 1 << 40), max_size=4)
POLLS = st.lists(
    st.builds(
        Poll, st.none() | SHARES, st.frozensets(st.integers(8, 10), max_size=1), st.none() | st.integers(0, 1 << 40)
    ),
    min_size=1,
    max_size=6,
)
SIGHTS = st.builds(Sight, st.booleans(), st.booleans())


@given(POLLS, SIGHTS)
def test_a_peak_is_above_0_and_at_least_every_poll_and_what_is_not_known_is_no_number(
    polls: list[Poll], sight: Sight
) -> None:
    found = held(polls, lambda process: process == RUNNER, sight)
    if found.peak_bytes is None:
        assert found.message
        assert (found.method, found.end_bytes) == ("", None)
        return
    assert not found.message
    assert found.end_bytes is not None
    assert 0 < found.end_bytes <= found.peak_bytes
    if found.method == PROCESS:
        assert sight.sees_all
        shares = [(poll.held_bytes or {}).get(RUNNER) for poll in polls]
        known = [share for share in shares if share is not None]
        assert (found.peak_bytes, found.end_bytes) == (max(known), shares[-1])
    else:
        assert found.method == DEVICE
        assert not sight.is_divided
        there = {process for poll in polls for process in (*(poll.held_bytes or ()), *poll.drawing)}
        assert len(there) == 1
        assert [found.peak_bytes] == [max(poll.used_bytes for poll in polls if poll.used_bytes is not None)]
        assert all(poll.used_bytes is not None for poll in polls)


HELD = st.builds(
    lambda end, more, method: Held(method, "", end + more, end, 2),
    st.integers(1, 1 << 40), st.integers(0, 1 << 30), st.sampled_from([PROCESS, DEVICE]),
) | st.just(Held(message="no"))  # fmt: skip


@given(st.lists(HELD, max_size=3), st.lists(HELD, max_size=3))
def test_what_a_workload_takes_can_be_told_from_nothing_or_is_no_number(found: list[Held], empty: list[Held]) -> None:
    peak = device_peak(found, empty, RESOLUTION_BYTES)
    assert (peak.peak_bytes is None) == (peak.status is not Reading.OK) == bool(peak.message)
    if peak.status is Reading.UNSUPPORTED:
        assert peak.method == ""
        return
    assert {one.method for one in (*found, *empty)} == {peak.method}
    if peak.peak_bytes is not None and peak.overhead_bytes is not None:
        assert peak.peak_bytes >= RESOLUTION_BYTES
        sizes = [one.peak_bytes or 0 for one in found]
        assert min(sizes) <= peak.peak_bytes + peak.overhead_bytes <= max(sizes)
    document = PeakMemory(Reading.BELOW_RESOLUTION, METHOD, "too small")
    assert peak.beside(document).device_bytes == peak.peak_bytes


@pytest.mark.parametrize(
    "numbers", [(0, 0), (5, 6), (-1, -1), (5, None)], ids=["nothing", "end above peak", "below 0", "no end"]
)
def test_what_no_process_can_hold_cannot_be_made(numbers: tuple[int, int | None]) -> None:
    with pytest.raises(UsageError):
        Held(PROCESS, "", *numbers)
    with pytest.raises(UsageError, match="device_bytes is 0"):
        PeakMemory(Reading.BELOW_RESOLUTION, METHOD, device_bytes=0)


def test_the_runner_still_holds_the_graph_when_it_answers() -> None:
    answers: list[tuple[object, bool]] = []
    runner: Runner = Runner(lambda answer: answers.append((answer["event"], "a" in runner.sessions)))
    profile = {"runtime": "onnxruntime", "threads": 1, "provider": "CPUExecutionProvider", "options": {}}
    runner.open({"profile": {**profile, "graph_level": "ORT_ENABLE_ALL"}, "rules": runner_rules(Settings())})
    runner.memory({**OrtLoader().request("a", heavy(1), 0), "runs": 1})
    assert answers == [("opened", False), ("memory", True)]


class Stepping(LittleNvml):
    """A GPU on which this process holds these sizes one after the other, the last one for good."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = [*sizes]
        self.is_over = threading.Event()

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[User]:  # noqa: N802
        if len(self.sizes) == 1:
            self.is_over.set()
            return [User(os.getpid(), self.sizes[0])]
        return [User(os.getpid(), self.sizes.pop(0))]


def test_a_peak_that_came_and_went_between_two_requests_was_polled() -> None:
    nvml = Stepping(1 * MB, 2 * MB, 9 * MB, 3 * MB)
    # The first two are asked for when the GPUs are looked for.
    memory = gpu_memory(ON_CUDA, nvml, sees_all=True)  # type: ignore[arg-type]
    assert memory is not None
    with memory.watching(os.getpid()) as held_bytes:
        assert nvml.is_over.wait(60.0)
        found = held_bytes()
    assert (found.method, found.peak_bytes, found.end_bytes) == (PROCESS, 9 * MB, 3 * MB)
    assert found.polls >= 3
    assert "gpu-memory" not in {thread.name for thread in threading.enumerate()}


class Untouchable:
    """A library that nobody may ask."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was asked")


def test_only_a_profile_on_an_nvidia_gpu_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_memory(host_profile(), Untouchable()) is None  # type: ignore[arg-type]
    monkeypatch.setattr("edgecost.devices.gpu_memory.nvml_library", lambda: None)
    unread = gpu_memory(replace(ON_CUDA, provider="TensorrtExecutionProvider"))
    assert unread is not None
    with unread.watching(1) as held_bytes:
        assert "pip install nvidia-ml-py" in held_bytes().message


def test_a_gpu_that_two_calls_tell_of_is_asked_as_the_guards_ask_it() -> None:
    nvml = LittleNvml(others={RUNNER: 3 * MB, 8: None, 9: 0, 10: (1 << 64) - 1})
    gpus = find_gpus(nvml, sees_all=True)  # type: ignore[arg-type]
    assert gpus is not None
    memory: DeviceMemory = GpuMemory(nvml, gpus)  # type: ignore[arg-type]
    assert isinstance(memory, GpuMemory)
    shares = memory.poll().held_bytes
    assert shares is not None
    assert [shares[pid] for pid in (RUNNER, 8, 9, 10)] == [3 * MB, None, None, None]


def test_commands_that_measure_show_what_is_held_of_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(RuntimeProfile, "is_on_nvidia", True)
    monkeypatch.setattr("edgecost.devices.gpu_memory.nvml_library", LittleNvml)
    monkeypatch.setattr("edgecost.devices.guards.nvidia._sees_all", lambda: True)
    model = model_file(tmp_path / "model.onnx")
    assert main(["campaign", "memory", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "on the GPU" in shown
    assert "Next: edgecost train" not in shown
    with Store(tmp_path / "store.sqlite") as store:
        (made,) = store.measurements(of=None)
    assert made.peak_memory is not None
    assert made.peak_memory.device_bytes is not None
    assert f"{made.peak_memory.device_bytes / 1e6:.1f} MB" in shown
    # The machine may be too busy for a steady latency; then there is nothing beside it.
    if main(["profile", str(model), "--memory", "--preset", "quick"]) == 0:
        said = capsys.readouterr().out
        assert "on the GPU at the most, loading included" in said
        assert " MB of an empty graph (nvml-process-1)" in said
    monkeypatch.setattr("edgecost.devices.gpu_memory.nvml_library", lambda: None)
    assert main(["campaign", "memory", str(model), "--again"]) == 0
    assert "on the GPU: NVML is not installed: pip install nvidia-ml-py, and measure again" in capsys.readouterr().out
