"""Meters outside the device: a program that prints ``seconds,watts`` lines, in any language, for any meter.

The seconds are the meter's own. They are brought to this machine's clock by the lines that came through fastest, and,
where somebody can load the device, by a pattern of load (``profiler.energy.alignment``). A line that is none is a
failure, and so is silence.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise

from ...profiler.energy.meter import EXTERNAL, Counts, MeterFacts
from ...profiler.energy.trace import Trace
from ...profiler.errors import MeterError, UsageError

_LINE = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*,\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*")
#: A meter that has not said anything by then says nothing.
START_S = 10.0
#: Lines from which the pace of a meter is found.
_PACE_LINES = 5


class ProgramMeter:
    """A program as a ``Meter``: started for each recording, ended after it."""

    def __init__(self, command: str) -> None:
        """Start it once, to find how often it says something.

        Raises:
            UsageError: there is no program in the command.
            MeterError: it cannot be started, or says nothing that is a reading.
        """
        self._argv = _split(command)
        with _Program(self._argv) as program:
            times = program.first_times(_PACE_LINES)
        steps = sorted(later - earlier for earlier, later in pairwise(times))
        period_s = steps[len(steps) // 2]
        if not period_s > 0:
            raise MeterError(
                f"{self._argv[0]} says the same time again and again", remedy="print t,watts with t rising"
            )
        # What a program prints may be a mean of the time since the line before.
        self._facts = MeterFacts(
            f"exec {os.path.basename(self._argv[0])}", EXTERNAL, "", "external", Counts.POWER, None,
            # To three digits: a meter's pace is never the same twice, and it is one sensor all the same.
            float(f"{period_s:.2g}"), averages_s=float(f"{period_s:.2g}"), note=shlex.join(self._argv),
        )  # fmt: skip

    @property
    def facts(self) -> MeterFacts:
        """What ``profiler.energy`` goes by; gain and offset are the meter's, which nobody has said."""
        return self._facts

    @contextmanager
    def recording(self) -> Iterator[_Program]:
        """As ``Meter.recording``; it begins when the meter has said something."""
        with _Program(self._argv) as program:
            program.first_times(2)
            yield program


def _split(command: str) -> list[str]:
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command!r} is no command: {error}") from error
    if not found:
        raise UsageError("there is no program in the command of the meter", remedy="exec:PROGRAM ARGUMENTS")
    return found


class _Program:
    """A running program and what it has said. As a context manager it and its children end with the context."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise MeterError(f"the meter {argv[0]} cannot be started: {error.strerror}") from error
        self._lock = threading.Lock()
        self._came_ns: list[int] = []
        self._own_s: list[float] = []
        self._watts: list[float] = []
        self._failures: list[int] = []
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="power-meter", daemon=True)

    def __enter__(self) -> _Program:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def first_times(self, number: int) -> list[float]:
        """The meter's own times of its first readings, in s.

        Raises:
            MeterError: it ended, or has not said so many in time.
        """
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with self._lock:
                if len(self._own_s) >= number:
                    return self._own_s[:number]
            if self._process.poll() is not None and not self._thread.is_alive():
                break
            time.sleep(0.01)
        with self._lock:
            said = f"{len(self._own_s)} readings and {len(self._failures)} lines that are none"
        raise MeterError(f"the meter {self._argv[0]} said {said}", remedy="it must print lines of seconds,watts")

    def trace(self) -> Trace:
        """Everything said until now, by this machine's clock."""
        with self._lock:
            own_s, came_ns, watts = list(self._own_s), list(self._came_ns), list(self._watts)
            failures = tuple(self._failures)
        # A line comes after its reading, by a delay that is sometimes short and never negative.
        offset_ns = min((came - round(own * 1e9) for own, came in zip(own_s, came_ns, strict=True)), default=0)
        times = tuple(round(own * 1e9) + offset_ns for own in own_s)
        return Trace(times, tuple(one * 1e3 for one in watts), failures)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        descriptor, pending = self._process.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while not self._is_ending.is_set():
                if not selector.select(0.1):
                    continue
                said = os.read(descriptor, 65536)
                if not said:
                    return
                *lines, pending = (pending + said).split(b"\n")
                for line in lines:
                    self._heard(line.decode(errors="replace"))

    def _heard(self, line: str) -> None:
        found = _LINE.fullmatch(line)
        now = time.perf_counter_ns()
        with self._lock:
            is_later = found is not None and (not self._own_s or float(found.group(1)) > self._own_s[-1])
            if found is None or not is_later:
                self._failures.append(now)
                return
            self._own_s.append(float(found.group(1)))
            self._watts.append(float(found.group(2)))
            self._came_ns.append(now)
