"""Two processes on one CPU take turns; a process that dies holds nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgecost.profiler.cpu_lock import hold_cpus

_HOLDER = """
import sys, time
from edgecost.profiler.cpu_lock import hold_cpus
with hold_cpus([900, 901]):
    print("held", flush=True)
    time.sleep(600)
"""
_TRIER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(7)
"""


def is_held(cpu: int) -> bool:
    path = Path(tempfile.gettempdir(), f"edgecost-cpu-{cpu}.lock")
    return subprocess.run([sys.executable, "-c", _TRIER, path], check=False).returncode == 7


def test_cpus_are_held_within_the_context_and_free_after_it() -> None:
    with hold_cpus([902]):
        assert is_held(902)
    assert not is_held(902)


def test_a_killed_process_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(900)
        assert is_held(901)
        process.send_signal(signal.SIGKILL)
    with hold_cpus([901, 900]):
        assert is_held(900)


def test_a_temporary_folder_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with hold_cpus([903]):
        pass
