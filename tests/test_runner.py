"""The runner as a process: JSON lines in, JSON lines out, and no process left behind."""

from __future__ import annotations

import base64
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest

from edgecost.profiler import runner
from edgecost.profiler.client import RUNNER, RunnerClient, RunnerSupply
from edgecost.profiler.errors import RunnerError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import Json, Status
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.worker import RunnerDied
from edgecost.profiler.workload import Workload, workload_from_model

PROFILE = host_profile()
OTHERS = ["3.6", "3.7", "3.8", "3.9", "3.12"]


def relu() -> Workload:
    graph = GraphBuilder("relu")
    made = graph.activate(graph.conv(graph.input((1, 4, 8, 8)), 4), "relu")
    return workload_from_model("relu", "operator", graph.model(made), tuple(graph.weights))


def load(name: str, workload: Workload) -> dict[str, Json]:
    from edgecost.profiler.loading import load_request

    return load_request(name, workload, 0)


def gone(pid: int, within_s: float = 20.0) -> bool:
    """Whether a process ends; one that nobody waits for stays as a zombie, which is ended too."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@contextmanager
def opened(supply: RunnerSupply) -> Iterator[RunnerClient]:
    with RunnerClient(supply, PROFILE, runner_rules()) as client:
        yield client


@pytest.fixture
def client() -> Iterator[RunnerClient]:
    with RunnerSupply() as supply, opened(supply) as made:
        yield made


def test_every_answer_is_one_json_line_with_an_event() -> None:
    profile = {
        "runtime": "onnxruntime",
        "threads": 1,
        "provider": PROFILE.provider,
        "graph_level": PROFILE.graph_level,
        "options": {},
        "cpus": [],
    }
    requests: list[dict[str, Json]] = [
        {"verb": "open", "profile": profile, "rules": dict(runner_rules()), "memory_limit_bytes": None},
        load("a", relu()),
        load("b", relu()),
        {"verb": "round", "order": ["b", "a"]},
        {"verb": "close"},
    ]
    said = "".join(json.dumps(request) + "\n" for request in requests)
    ended = subprocess.run([sys.executable, str(RUNNER)], input=said, capture_output=True, text=True, timeout=60)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["event"] for answer in answers] == [
        "opened", "loaded", "loaded", "begin", "visit", "begin", "visit", "round_done",
    ]  # fmt: skip
    assert ended.returncode == 0
    assert answers[0]["runtime_version"] == PROFILE.version
    visits = [answer for answer in answers if answer["event"] == "visit"]
    assert [visit["id"] for visit in visits] == ["b", "a"]
    for visit in visits:
        rules = runner_rules()
        assert rules["runs_min"] <= len(visit["wall_ns"]) == len(visit["cpu_ns"]) <= rules["runs_max"]
        assert all(isinstance(value, int) and value >= 0 for value in [*visit["wall_ns"], *visit["canary_ns"]])
    # One canary stands between two visits: it is the later one of the first and the earlier one of the second.
    assert visits[0]["canary_ns"][1] == visits[1]["canary_ns"][0]


def test_the_end_of_the_input_ends_the_runner() -> None:
    ended = subprocess.run([sys.executable, str(RUNNER)], input="", capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")


def interpreter(version: str) -> str:
    """A Python of that version, on the path or installed beside the one that runs this."""
    kept = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python{version}"))
    for place in (shutil.which(f"python{version}"), *map(str, kept)):
        if place is not None and subprocess.run([place, "--version"], capture_output=True).returncode == 0:
            return place
    pytest.skip(f"no working Python {version} on this machine")


@pytest.mark.parametrize("version", OTHERS)
def test_another_python_compiles_the_runner(version: str, tmp_path: Path) -> None:
    target = str(tmp_path / "runner.pyc")
    code = f"import py_compile; py_compile.compile({str(RUNNER)!r}, cfile={target!r}, doraise=True)"
    subprocess.run([interpreter(version), "-c", code], check=True, timeout=60)
    assert py_compile.compile(str(RUNNER), cfile=target, doraise=True) == target


@pytest.mark.parametrize("version", OTHERS)
def test_another_python_serves_until_it_is_told_to_close(version: str) -> None:
    said = json.dumps({"verb": "close"}) + "\nnever read\n"
    ended = subprocess.run([interpreter(version), str(RUNNER)], input=said.encode(), capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr


def shadowed(tmp_path: Path, module: str) -> str:
    """An interpreter that finds a module of ours first; the real one stays in reach."""
    folder = tmp_path / "shadow"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text(module)
    return script(tmp_path / "python", f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')


TALKATIVE = """
import importlib, os, sys
print("a banner on standard output")
os.system("echo a banner of a child")
os.write(1, b"a banner of the C library\\n")
here = os.path.dirname(__file__)
sys.path.remove(here)
del sys.modules["onnxruntime"]
real = importlib.import_module("onnxruntime")
"""


def test_a_runtime_that_prints_does_not_corrupt_the_answers(tmp_path: Path) -> None:
    with RunnerSupply(shadowed(tmp_path, TALKATIVE)) as supply, opened(supply) as client:
        assert client.opened["runtime_version"] == PROFILE.version
        client.send(load("a", relu()))
        assert client.receive(60)["event"] == "loaded"


BROKEN = {
    "import error": "import a_library_that_is_not_there",
    "system exit": "raise SystemExit(3)",
    "bad extension": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "abort": "import os; os.abort()",
}


@pytest.mark.parametrize("module", BROKEN.values(), ids=BROKEN)
def test_a_runtime_that_cannot_be_imported_is_a_runner_error_with_a_remedy(module: str, tmp_path: Path) -> None:
    refused = pytest.raises(RunnerError, match="could not open onnxruntime")
    with RunnerSupply(shadowed(tmp_path, module)) as supply, refused as caught, opened(supply):
        pass
    assert "edgecost doctor" in caught.value.remedy


def test_what_the_import_complained_of_is_in_the_message(tmp_path: Path) -> None:
    refused = pytest.raises(RunnerError, match="a_library_that_is_not_there")
    with RunnerSupply(shadowed(tmp_path, BROKEN["import error"])) as supply, refused, opened(supply):
        pass


def test_an_interpreter_that_does_not_exist_is_a_runner_error(tmp_path: Path) -> None:
    with RunnerSupply(str(tmp_path / "python")) as supply:
        with pytest.raises(RunnerError, match=r"cannot start the interpreter .*No such file"):
            supply.prepare()
        with pytest.raises(RunnerError, match="cannot start"):
            supply.take()


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\necho hello\nexec sleep 60\n",
        "#!/bin/sh\nexec cat\n",
        '#!/bin/sh\necho \'{"event": "visit"}\'\nsleep 60\n',
    ],
    ids=["prose", "echo", "another event"],
)
def test_an_interpreter_that_speaks_nonsense_is_a_runner_error(text: str, tmp_path: Path) -> None:
    refused = pytest.raises(RunnerError, match=r"is no answer|should have opened")
    with RunnerSupply(script(tmp_path / "python", f"#!/bin/sh\n{text}")) as supply, refused, opened(supply):
        pass


def test_the_folder_of_the_runner_hides_no_standard_module(tmp_path: Path) -> None:
    # profiler/statistics.py would be found in place of the standard library's.
    module = TALKATIVE + "import statistics\nassert statistics.median([1, 2, 9]) == 2\n"
    with RunnerSupply(shadowed(tmp_path, module)) as supply, opened(supply) as client:
        assert client.opened["event"] == "opened"


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [
        (signal.SIGSEGV, Status.SEGFAULT, "SIGSEGV"),
        (signal.SIGBUS, Status.SEGFAULT, "SIGBUS"),
        (signal.SIGILL, Status.SIGILL, "SIGILL"),
        (signal.SIGKILL, Status.CRASHED, "SIGKILL"),
        (signal.SIGABRT, Status.CRASHED, "SIGABRT"),
        (signal.SIGRTMIN + 3, Status.CRASHED, "signal 37"),
    ],
)
def test_the_cause_of_death_is_named(client: RunnerClient, number: int, status: Status, name: str) -> None:
    os.kill(client.pid, number)
    with pytest.raises(RunnerDied, match=f"ended by {name}") as caught:
        client.receive(20)
    assert caught.value.status is status


def test_silence_is_a_timeout_and_ends_the_process(client: RunnerClient) -> None:
    os.kill(client.pid, signal.SIGSTOP)
    with pytest.raises(RunnerDied, match=r"no answer within 0\.2 s") as caught:
        client.receive(0.2)
    assert caught.value.status is Status.TIMEOUT
    assert gone(client.pid)


def test_closing_twice_is_harmless_and_ends_the_process(client: RunnerClient) -> None:
    client.close()
    assert gone(client.pid)
    client.close()


def test_the_spare_process_is_ended_on_exit() -> None:
    with RunnerSupply() as supply:
        supply.prepare()
        assert supply._spare is not None
        pid = supply._spare.process.pid
        supply.prepare()
        assert supply._spare.process.pid == pid
    assert gone(pid)


def test_a_spare_process_that_died_is_replaced() -> None:
    with RunnerSupply() as supply:
        supply.prepare()
        assert supply._spare is not None
        supply._spare.process.kill()
        supply._spare.process.wait()
        with opened(supply) as client:
            assert client.opened["event"] == "opened"


class _CtrlC(BaseException):
    pass


def test_an_interruption_while_the_runner_starts_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pids = []

    def interrupted(self: RunnerClient, timeout_s: float) -> None:
        pids.append(self.pid)
        raise _CtrlC

    monkeypatch.setattr(RunnerClient, "receive", interrupted)
    with RunnerSupply() as supply, pytest.raises(_CtrlC), opened(supply):
        pass
    assert gone(pids[0])


PARENT = """
import sys
from edgecost.profiler.client import RunnerClient, RunnerSupply
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.worker import RunnerDied
with RunnerSupply() as supply, RunnerClient(supply, host_profile(), runner_rules()) as client:
    supply.prepare()
    print(client.pid, supply._spare.process.pid, flush=True)
    sys.stdin.read()
"""


def test_the_runners_end_when_their_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
        parent.wait()
    assert all(gone(pid) for pid in pids)


def test_a_model_that_no_runtime_can_read_is_answered_not_died_of(client: RunnerClient) -> None:
    garbage = base64.b64encode(b"no model at all").decode()
    client.send({"verb": "load", "id": "a", "seed": 0, "model": garbage, "weights": []})
    answer = client.receive(60)
    assert (answer["event"], answer["id"], answer["outcome"]) == ("failed", "a", "invalid_model")
    client.send(load("b", relu()))
    assert client.receive(60)["event"] == "loaded"


def test_the_outcomes_of_the_runner_are_statuses_of_the_record() -> None:
    texts = ["NOT_IMPLEMENTED", "x is not a registered function/op", "No Op registered", "std::bad_alloc", "other"]
    outcomes = {Status(runner.name_outcome(RuntimeError(text))) for text in texts}
    assert outcomes == {Status.UNSUPPORTED_OPERATOR, Status.OUT_OF_MEMORY, Status.INVALID_MODEL}


# The first activation and the one in the branch are both called Relu_0 by the runtime, since neither has a name.
NAMELESS = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[4,8] x) => (float[4,8] y) {
    a = Relu (x)
    m = ReduceMax <keepdims = 0> (a)
    big = Constant <value = float {-1.0}> ()
    warm = Greater (m, big)
    b = If (warm) <
        then_branch = t () => (float[4,8] u) { u = Relu (a) },
        else_branch = e () => (float[4,8] v) { v = Neg (a) }
    >
    turns = Constant <value = int64 {5}> ()
    go = Constant <value = bool {1}> ()
    y = Loop (turns, go, b) <
        body = d (int64 i, bool k, float[4,8] p) => (bool l, float[4,8] q) { l = Identity (k)  q = Sin (p) }
    >
}"""


def test_kernels_of_one_name_are_told_apart_and_turns_of_a_loop_are_not(client: RunnerClient) -> None:
    model = base64.b64encode(onnx.parser.parse_model(NAMELESS).SerializeToString()).decode()
    client.send({"verb": "profile", "id": "a", "seed": 0, "model": model, "weights": [], "runs": 4})
    answer = client.receive(60)
    kernels = answer["kernels"]
    assert isinstance(kernels, list)
    ops = [kernel["op"] for kernel in kernels]
    assert {op: ops.count(op) for op in ("Relu", "If", "Loop", "Sin")} == {"Relu": 2, "If": 1, "Loop": 1, "Sin": 1}
    assert ops[0] == "Relu"
    assert ops.index("Relu", 1) < ops.index("If") < ops.index("Sin") < ops.index("Loop")
    assert {len(kernel["times_ns"]) for kernel in kernels} == {4}


def test_of_a_trace_only_the_last_runs_count() -> None:
    def line(kind: str, name: str, begin: int, long: int) -> dict[str, object]:
        return {"cat": kind, "name": name, "ts": begin, "dur": long, "args": {"op_name": name[:1]}}

    trace = []
    for run in range(3):
        start = 100 * run
        trace += [
            line("Node", "A_kernel_time", start + 1, 10 + run),
            line("Node", "A_kernel_time", start + 30, 20 + run),
            line("Session", "SequentialExecutor::Execute", start + 1, 60),
            line("Session", "model_run", start, 62),
        ]
    found = runner._kernel_times(trace, 2)
    assert [(one["name"], one["times_ns"]) for one in found] == [("A", [11000, 12000]), ("A", [21000, 22000])]
