"""TVM over RPC with a real tracker and real servers: whose number it is, and what happens when there is no board."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.profile_model import profile
from edgecost.db import Store
from edgecost.devices.host import host_device, read_host
from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RUNNER, RunnerClient
from edgecost.profiler.errors import RunnerError, UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.measure import measure_group
from edgecost.profiler.protocol import preset, runner_rules
from edgecost.profiler.records import Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.runtimes import BUILT_IN, NamedRuntime, resolve
from edgecost.profiler.tasks import Task
from edgecost.profiler.weights import complete
from edgecost.profiler.worker import RunnerDied
from edgecost.profiler.workload import Workload, workload_from_model

if importlib.util.find_spec("tvm") is None or importlib.util.find_spec("tornado") is None:
    pytest.skip("TVM has no RPC here: pip install 'edgecost[tvm]'", allow_module_level=True)

#: TVM's magic number and request code for a tracker's summary.
TRACKER_MAGIC, SUMMARY = 0x2F271, 6
START_S = 60.0
#: What every machine of this one's kind can run.
CPU = {"x86_64": "x86-64", "aarch64": "generic"}.get(platform.machine(), "")


class Boards:
    """A tracker, and servers of this machine that pretend to be boards, each in a session of its own.

    Tracker and server do their work in a child process; a signal to the parent alone would leave it behind.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._start("tracker", "rpc_tracker", "--port", self.port, "--port-end", self.port + 1)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, *keys: str) -> None:
        """Start a server for each key and wait until the tracker knows them."""
        self._wait_for(set())
        for key in keys:
            port = free_port()
            at = ("--port", port, "--port-end", port + 1)
            self._start(key, "rpc_server", *at, "--tracker", self.address, "--key", key, "--silent")
        self._wait_for(set(keys))

    def kill(self, key: str) -> None:
        process = self._processes.pop(key)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for key in list(self._processes):
            self.kill(key)

    def _start(self, name: str, module: str, *arguments: str | int) -> None:
        command = [sys.executable, "-m", f"tvm.exec.{module}", "--host", "127.0.0.1", *map(str, arguments)]
        self._processes[name] = subprocess.Popen(
            command,
            env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_for(self, keys: set[str]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                if keys <= self._known():
                    return
            time.sleep(0.05)
        pytest.fail(f"no tracker with {keys} after {START_S:g} s")

    def _known(self) -> set[str]:
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as tracker, tracker.makefile("rwb") as stream:
            # The tracker takes what comes first for the magic number, all of it.
            stream.write(struct.pack("<i", TRACKER_MAGIC))
            stream.flush()
            stream.read(4)
            request = json.dumps([SUMMARY]).encode()
            stream.write(struct.pack("<i", len(request)) + request)
            stream.flush()
            (length,) = struct.unpack("<i", stream.read(4))
            _, summary = json.loads(stream.read(length))
        return {server["key"].partition(":")[2] for server in summary["server_info"]}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def boards() -> Iterator[Boards]:
    found = Boards()
    try:
        found.add("mine", "doomed", "doomed-too")
        yield found
    finally:
        found.close()


def named(address: str, key: str = "mine", **changes: str | None) -> NamedRuntime:
    """TVM on a board; an option that is None is left out."""
    options: Mapping[str, str | None] = {
        "mcpu": CPU,
        "mtriple": f"{platform.machine()}-linux-gnu",
        "rpc_tracker": address,
        "rpc_key": key,
        "rpc_trusted": "yes",
        **changes,
    }
    given = tuple((name, value) for name, value in sorted(options.items()) if value is not None)
    return replace(BUILT_IN["tvm"], name="board", options=given)


@pytest.fixture(scope="module")
def runtime(boards: Boards) -> RuntimeProfile:
    return resolve(named(boards.address))


def on(runtime: RuntimeProfile, **options: str) -> RuntimeProfile:
    return replace(runtime, options=tuple(sorted((dict(runtime.options) | options).items())))


def products(name: str = "products") -> Workload:
    graph = GraphBuilder(name)
    made = graph.linear(graph.activate(graph.linear(graph.input((1, 32)), 64), "relu"), 8)
    return workload_from_model(name, "operator", graph.model(made), tuple(graph.weights))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"rpc_trusted": None}, "rpc_trusted=yes"),
        ({"rpc_trusted": "no"}, "rpc_trusted=yes"),
        ({"rpc_key": None}, "rpc_key names the board"),
        ({"mtriple": None}, "what to compile for"),
        ({"rpc_tracker": "board"}, ""),
    ],
)
def test_a_board_is_not_asked_until_it_is_trusted_and_described(changes: dict[str, str | None], remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(named("127.0.0.1:9", **changes))
    assert remedy in caught.value.remedy


def test_a_board_may_have_more_cores_than_this_machine() -> None:
    assert resolve(named("127.0.0.1:9"), threads=4096).threads == 4096
    with pytest.raises(UsageError):
        resolve(BUILT_IN["tvm"], threads=4096)


def test_what_a_board_took_is_stored_as_the_boards_and_the_board_is_free_again(
    runtime: RuntimeProfile, tmp_path: Path
) -> None:
    workload = products()
    model = tmp_path / "model.onnx"
    model.write_bytes(complete(workload.skeleton, workload.weights))
    settings = preset("quick", target=0.9, max_time_s=20.0)
    here = host_device(read_host())
    with Store(tmp_path / "store.sqlite") as store:
        # One board serves all: the second visit finds it only if the first has let it go.
        found = [profile(model, runtime=runtime, settings=settings, store=store) for _ in range(2)]
        assert [device.name for device in store.devices()] == ["mine"]
        stored = list(store.measurements())
    assert len(stored) >= 2
    for made in found:
        assert made.measurement.latency is not None
        assert made.measurement.device_identity == made.setting.device.identity != here.identity
        assert f"mine ({CPU}), behind the TVM tracker" in made.setting.device.description
        # TVM cannot call back from the other side: no times by kernel.
        assert made.kernels == ()


def opened(runtime: RuntimeProfile, bench: Bench) -> RunnerClient:
    return RunnerClient(bench.supply, runtime, runner_rules(), canary=bench.loader.canary())


def test_a_key_that_no_board_has_is_named_beside_those_that_there_are(runtime: RuntimeProfile) -> None:
    absent = on(runtime, rpc_key="absent")
    with Bench.for_profile(absent) as bench, pytest.raises(RunnerError) as caught:
        opened(absent, bench)
    assert "knows no board 'absent', but ['doomed" in caught.value.message
    assert "Traceback" not in caught.value.message
    assert "'absent'" in caught.value.remedy


def test_a_tracker_that_is_not_there_is_said_to_be_so(runtime: RuntimeProfile) -> None:
    nowhere = on(runtime, rpc_tracker=f"127.0.0.1:{free_port()}")
    with Bench.for_profile(nowhere) as bench, pytest.raises(RunnerError, match="no TVM tracker answers"):
        opened(nowhere, bench)


#: Opens a board twice from one process, with a short patience.
TWICE = """
import runpy, sys
names = runpy.run_path(sys.argv[1])
runtime = names["TvmRuntime"]
runtime.__init__.__globals__.update(RPC_REQUEST_S=0.3, RPC_REQUESTS=2)
profile = {"threads": 1, "options": {"rpc_tracker": sys.argv[2], "rpc_key": "mine"}}
first = runtime(profile)
assert first.remote.get_function("runtime.NumThreads")() == 1
runtime(profile)
"""


def test_a_board_that_stays_busy_is_given_up(boards: Boards) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TWICE, str(RUNNER), boards.address], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert f"the tracker at {boards.address} gave no board 'mine'" in ended.stderr
    assert "Traceback" not in ended.stderr


class Killer:
    """A listener that ends the board after the first round."""

    def __init__(self, boards: Boards, key: str) -> None:
        self.boards, self.key = boards, key
        self.ends: list[tuple[Status, str]] = []

    def visited(self, visits: Sequence[tuple[Task, Visit]]) -> None:
        if self.key:
            self.boards.kill(self.key)
            self.key = ""

    def finished(self, task: Task, measurement: Measurement) -> None:
        self.ends.append((measurement.status, measurement.message))


def test_a_board_that_dies_while_it_measures_ends_the_measurement(boards: Boards, runtime: RuntimeProfile) -> None:
    doomed = on(runtime, rpc_key="doomed")
    listener = Killer(boards, "doomed")
    settings = preset("careful", max_time_s=60.0)
    setting = LocalSetting.here(doomed)
    # Dead in a visit it ends the workload. Dead between two, it is missed when the next runner asks for it; what was
    # measured by then is kept.
    with Bench.for_profile(doomed) as bench:
        measure_group([Task(products(), "profile")], setting.stage, settings, listener, bench)
    assert listener.key == ""
    ((status, message),) = listener.ends
    assert status in (Status.CRASHED, Status.REJECTED)
    assert "board" in message


def test_a_dead_board_is_not_taken_for_a_broken_model(boards: Boards, runtime: RuntimeProfile) -> None:
    doomed = on(runtime, rpc_key="doomed-too")
    with Bench.for_profile(doomed) as bench:
        request = bench.loader.request("it", products(), 0)
        with opened(doomed, bench) as runner:
            boards.kill("doomed-too")
            runner.send(request)
            with pytest.raises(RunnerDied, match="the board behind RPC is gone") as caught:
                runner.receive(60.0)
    assert caught.value.status is Status.CRASHED
