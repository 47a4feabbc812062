"""Processes that are asked in JSON lines and hang, die, or leave children behind: how each end is told."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecost.profiler.errors import RunnerError
from edgecost.profiler.records import Status
from edgecost.profiler.worker import RunnerDied, Spawned, Worker

#: Answers each line with its length, as often as it is asked.
ECHO = """
import json, sys
print(json.dumps({"event": "ready"}), flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "heard", "length": len(line)}), flush=True)
"""
#: Starts a child that outlives it by far, and says the child's number; then does what the last line says.
PARENT = """
import json, os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(json.dumps({"event": "ready", "child": child.pid}), flush=True)
sys.stdin.readline()
"""
#: More than any pipe holds.
LARGE = {"verb": "load", "model": "A" * (4 << 20)}


@contextmanager
def working(program: str) -> Iterator[Worker]:
    with Worker(Spawned.start([sys.executable, "-c", program], {}), name="helper") as worker:
        yield worker


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


def test_temporary_files_of_a_process_that_is_killed_go_with_it() -> None:
    program = (
        "import json, os, tempfile, time; folder = tempfile.mkdtemp();"
        "open(os.path.join(folder, 'model'), 'w').close();"
        "print(json.dumps({'event': 'ready', 'folder': folder}), flush=True); time.sleep(600)"
    )
    with working(program) as worker:
        folder = Path(str(worker.receive(20)["folder"]))
        assert (folder / "model").exists()
    assert not folder.exists()
    assert not folder.parent.exists()


def test_a_request_larger_than_the_pipe_arrives_whole() -> None:
    with working(ECHO) as worker:
        worker.receive(20)
        worker.send(LARGE)
        assert worker.receive(20) == {"event": "heard", "length": len(json.dumps(LARGE)) + 1}


def test_a_process_that_does_not_read_is_killed_after_the_limit_and_told_as_a_timeout() -> None:
    with working(ECHO) as worker:
        worker.receive(20)
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(RunnerDied, match=r"took no request within 0\.3 s; the helper was killed") as caught:
            worker.send(LARGE, 0.3)
        assert caught.value.status is Status.TIMEOUT
        assert gone(worker.pid)


def test_a_process_that_does_not_answer_is_killed_after_the_limit_and_told_as_a_timeout() -> None:
    with working(ECHO) as worker:
        worker.receive(20)
        with pytest.raises(RunnerDied, match=r"no answer within 0\.2 s; the helper was killed") as caught:
            worker.receive(0.2)
        assert caught.value.status is Status.TIMEOUT
        assert gone(worker.pid)


def test_a_process_that_ended_before_it_was_asked_is_told_with_its_exit_code() -> None:
    with working("import sys; print('the last words', file=sys.stderr); sys.exit(7)") as worker:
        # More than the pipe holds: the rest finds nobody who reads.
        with pytest.raises(RunnerDied, match="exited with code 7: the last words") as caught:
            worker.send(LARGE)
        assert caught.value.status is Status.CRASHED


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", Status.SEGFAULT, "ended by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGBUS)", Status.SEGFAULT, "ended by SIGBUS"),
        ("os.kill(os.getpid(), signal.SIGILL)", Status.SIGILL, "ended by SIGILL"),
        ("os.abort()", Status.CRASHED, "ended by SIGABRT"),
        ("sys.exit(3)", Status.CRASHED, "exited with code 3"),
        ("raise MemoryError", Status.OUT_OF_MEMORY, "MemoryError"),
        (
            "print('terminate called: std::bad_alloc', file=sys.stderr, flush=True); os.abort()",
            Status.OUT_OF_MEMORY,
            "bad_alloc",
        ),
    ],
)
def test_each_death_has_its_cause_and_takes_the_children_with_it(end: str, status: Status, words: str) -> None:
    with working(PARENT + end) as worker:
        child = worker.receive(20)["child"]
        assert isinstance(child, int)
        worker.send({})
        with pytest.raises(RunnerDied, match=words) as caught:
            worker.receive(20)
        assert caught.value.status is status
        assert gone(child)


def test_the_children_of_a_worker_that_is_closed_die_too() -> None:
    with working(PARENT + "time.sleep(600)") as worker:
        child = worker.receive(20)["child"]
        assert isinstance(child, int)
        assert not gone(child, within_s=0.1)
    assert gone(worker.pid)
    assert gone(child)


def test_the_children_of_a_worker_that_hangs_die_too() -> None:
    with working(PARENT + "time.sleep(600)") as worker:
        child = worker.receive(20)["child"]
        assert isinstance(child, int)
        with pytest.raises(RunnerDied, match="no answer"):
            worker.receive(0.2)
        assert gone(child)


def test_a_process_that_closes_its_output_and_stays_is_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecost.profiler.worker.DEATH_TIMEOUT_S", 0.3)
    with working("import os, time; os.close(1); time.sleep(600)") as worker:
        with pytest.raises(RunnerDied, match="closed its output and did not end") as caught:
            worker.receive(20)
        assert caught.value.status is Status.TIMEOUT
        assert gone(worker.pid)


def test_asking_again_after_a_death_tells_the_same_death() -> None:
    with working("import os; os.abort()") as worker:
        for _ in range(2):
            with pytest.raises(RunnerDied, match="SIGABRT"):
                worker.receive(20)


@pytest.mark.parametrize("said", ["hello", "[1]", '{"no": "event"}'], ids=["prose", "a list", "no event"])
def test_what_is_no_answer_is_an_error_with_a_remedy(said: str) -> None:
    with (
        working(f"print({said!r}, flush=True); input()") as worker,
        pytest.raises(RunnerError, match="is no answer") as caught,
    ):
        worker.receive(20)
    assert "numpy" in caught.value.remedy
