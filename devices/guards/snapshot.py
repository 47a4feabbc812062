"""One look at what moves on a board. What could not be read is None; what is not there is left out."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..commands import Commands
from .found import (
    FIRMWARE_CLOCK,
    GET_THROTTLED,
    KERNEL_LOG,
    MEASURE_CLOCK,
    PMIC,
    Clock,
    Sources,
    has_time,
    number_of,
    text_of,
)
from .nvidia import GpuReading, is_ours

_BITS = re.compile(r"throttled=0x([0-9a-fA-F]+)\s*")
_HERTZ = re.compile(r"frequency\(\d+\)=(\d+)\s*")
#: ``[ 90.250000] soctherm: OC ALARM 0x00000001``: the time makes a line one of a kind.
_ALARM = re.compile(r"^.*\bOC ALARM\b.*$", re.MULTILINE)
_EXT5V = re.compile(r"EXT5V_V\s+volt\(\d+\)=(\d+(?:\.\d+)?)V")


@dataclass(frozen=True)
class ClockReading:
    """A clock and its limits, in the unit of its files. None where it could not be read: a CPU may be off.

    Attributes:
        wished: of the firmware's clock what the kernel asked for, the lower of just before and just after.
    """

    now: int | None
    low: int | None
    high: int | None
    governor: str | None
    wished: int | None = None

    @property
    def is_locked(self) -> bool:
        """Whether it may be only one frequency."""
        return self.low is not None and self.low == self.high


@dataclass(frozen=True)
class Snapshot:
    """One look.

    Attributes:
        at_ns: by ``time.perf_counter_ns``, when it was over.
        begin_ns: when it began.
        bits: of ``vcgencmd get_throttled``; None where it is asked and gave nothing.
        has_bits, has_log: whether it, and the kernel's log, is asked.
        alarm_lines: what the kernel's log says of over-current, each with its time; None where it is not asked, or did
            not answer.
        gpus: of NVIDIA.
        online: the CPUs that are switched on.
        foreign_busy_s: of all CPUs since the start, less what this process and its children took.
        swapped_pages: in and out since the start.
        runnable: tasks that run or could, this process's look among them.
        is_full: whether what takes long to tell was asked, too.
    """

    begin_ns: int
    at_ns: int
    counters: Mapping[str, int | None] = field(default_factory=dict)
    coolers: Mapping[str, int | None] = field(default_factory=dict)
    alarms: Mapping[str, int | None] = field(default_factory=dict)
    clocks: Mapping[str, ClockReading] = field(default_factory=dict)
    temperatures_celsius: Mapping[str, float | None] = field(default_factory=dict)
    supplies_mv: Mapping[str, float | None] = field(default_factory=dict)
    has_bits: bool = False
    bits: int | None = None
    has_log: bool = False
    alarm_lines: tuple[str, ...] | None = None
    gpus: Mapping[str, GpuReading] = field(default_factory=dict)
    online: str | None = None
    foreign_busy_s: float | None = None
    swapped_pages: int | None = None
    runnable: int | None = None
    is_full: bool = True


def look(sources: Sources, commands: Commands, *, in_full: bool = True) -> Snapshot:
    """Look at everything now; not ``in_full`` leaves out what takes the board long to tell."""
    begin_ns = time.perf_counter_ns()
    supplies: dict[str, float | None] = {name: number_of(path) for name, path in sources.supplies_mv.items()}
    if sources.asks_supply and in_full:
        volts = _asked(commands, PMIC, _EXT5V)
        supplies["EXT5V"] = None if volts is None else float(volts) * 1e3
    digits = _asked(commands, GET_THROTTLED, _BITS) if sources.asks_bits else None
    found = Snapshot(
        begin_ns,
        begin_ns,
        counters={name: number_of(path) for name, path in sources.counters.items()},
        coolers={name: number_of(path) for name, path in sources.coolers.items()},
        alarms={name: number_of(path) for name, path in sources.alarms.items()},
        clocks=_clocks(sources, commands),
        temperatures_celsius=temperatures(sources),
        supplies_mv=supplies,
        has_bits=sources.asks_bits,
        bits=None if digits is None else int(digits, 16),
        has_log=sources.asks_log and in_full,
        alarm_lines=_alarm_lines(commands) if sources.asks_log and in_full else None,
        gpus={} if sources.gpus is None else sources.gpus.look(partial(is_ours, sources.root)),
        online=text_of(sources.root / "sys/devices/system/cpu/online"),
        foreign_busy_s=foreign_busy_s(sources.root),
        swapped_pages=_swapped_pages(sources.root),
        runnable=_runnable(sources.root),
        is_full=in_full,
    )
    return replace(found, at_ns=time.perf_counter_ns())


def temperatures(sources: Sources) -> dict[str, float | None]:
    """Of all zones, by their type."""
    read = {name: number_of(path) for name, path in sources.temperatures.items()}
    return {name: None if value is None else value / 1000 for name, value in read.items()}


def _clocks(sources: Sources, commands: Commands) -> dict[str, ClockReading]:
    found = {name: _clock(clock) for name, clock in sources.clocks.items()}
    if sources.asks_clock:
        before = _wished(sources)
        hertz = _asked(commands, MEASURE_CLOCK, _HERTZ)
        wishes = [wish for wish in (before, _wished(sources)) if wish is not None]
        # In kHz, as the kernel has its own.
        now = None if hertz is None else int(hertz) // 1000
        found[FIRMWARE_CLOCK] = ClockReading(now, None, None, None, min(wishes, default=None))
    return found


def _wished(sources: Sources) -> int | None:
    """All cores of a Raspberry Pi have one clock."""
    read = [
        number_of(sources.clocks[name].path / "scaling_cur_freq")
        for name in sources.cpu_clocks
        if name in sources.clocks
    ]
    return max((one for one in read if one is not None), default=None)


def _alarm_lines(commands: Commands) -> tuple[str, ...] | None:
    answer = commands.run(KERNEL_LOG)
    if answer is None or answer.returncode != 0:
        return None
    found = tuple(line.strip() for line in _ALARM.findall(answer.stdout))
    # Without their times two alarms are the same line, and a new one could not be told from an old one.
    return found if all(has_time(line) for line in found) else None


def _clock(clock: Clock) -> ClockReading:
    return ClockReading(
        number_of(clock.path / clock.now),
        number_of(clock.path / clock.low),
        number_of(clock.path / clock.high),
        text_of(clock.path / clock.governor),
    )


def _asked(commands: Commands, argv: tuple[str, ...], pattern: re.Pattern[str]) -> str | None:
    """What the pattern finds in a program's answer; a program may say that it failed and end well all the same."""
    answer = commands.run(argv)
    found = pattern.search(answer.stdout) if answer is not None and answer.returncode == 0 else None
    return found.group(1) if found else None


def foreign_busy_s(root: Path) -> float | None:
    """Busy seconds of all CPUs that neither this process nor one that it started took; None where that is unknown."""
    first = (text_of(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu" or not all(word.isdecimal() for word in first[1:9]):
        return None
    user, nice, system, _, _, irq, softirq, _ = (int(word) for word in first[1:9])
    own = os.getpid()
    if not any(root.glob(f"proc/{own}/task/*/children")):
        return None  # a kernel that does not list children: what is ours cannot be told from what is not
    return (user + nice + system + irq + softirq - _ticks_of(root, own)) / os.sysconf("SC_CLK_TCK")


def _ticks_of(root: Path, process: int) -> int:
    """Of a process, of those children that it waited for, and of those that live; 0 for one that is gone.

    A child that has ended counts as another's until it is waited for.
    """
    # The name in brackets may hold anything, brackets and spaces too.
    fields = (text_of(root / f"proc/{process}/stat") or "").rpartition(")")[2].split()
    total = sum(int(word) for word in fields[11:15])
    for task in root.glob(f"proc/{process}/task/*/children"):
        total += sum(_ticks_of(root, int(child)) for child in (text_of(task) or "").split())
    return total


def _swapped_pages(root: Path) -> int | None:
    lines = (line.split() for line in (text_of(root / "proc/vmstat") or "").splitlines())
    found = [int(line[1]) for line in lines if len(line) == 2 and line[0] in ("pswpin", "pswpout")]
    return sum(found) if len(found) == 2 else None


def _runnable(root: Path) -> int | None:
    words = (text_of(root / "proc/loadavg") or "").split()
    running = words[3].partition("/")[0] if len(words) > 3 else ""
    return int(running) if running.isdecimal() else None
