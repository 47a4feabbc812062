"""Looks at a board → faults of the time between. A source that vanished or started anew is a fault, never silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ...profiler.watching import Affects, Fault
from .found import FIRMWARE_CLOCK
from .snapshot import ClockReading, Snapshot

#: A clock under load below this share of what it is locked to, or of what it was at first.
CLOCK_MIN = 0.98
#: Of boards that are fed with 5 V, in mV.
SUPPLY_MIN_MV = 4750.0
#: What others may take, as a share of one CPU.
FOREIGN_MAX = 0.05
#: A task that runs at rest besides the one that looks.
RUNNABLE_MAX = 1
#: ``vcgencmd get_throttled``: what is now; the same 16 bits further on is what was, until the firmware forgets it.
PI_BITS = {0: ("undervoltage", "too low a supply"), 1: ("throttled", "the CPU's clock is capped"),
           2: ("throttled", "throttled"), 3: ("throttled", "the soft limit of temperature is reached")}  # fmt: skip
_SINCE = 16


@dataclass(frozen=True)
class Manner:
    """How a time is judged.

    Attributes:
        cpus: those that were measured on; none for all.
        cpu_clocks: which CPUs a clock is of; clocks that are not named here are of something else.
        first_clocks: what clocks were in the first busy time; a clock that is locked is compared to its lock.
        is_busy: whether a workload ran all the time: then clocks that nothing locks are compared, too.
        is_rest: whether none did.
        is_on_gpu: whether an NVIDIA GPU was measured on.
    """

    cpus: frozenset[int] = frozenset()
    cpu_clocks: Mapping[str, frozenset[int]] = field(default_factory=dict)
    first_clocks: Mapping[str, float] = field(default_factory=dict)
    is_busy: bool = False
    is_rest: bool = False
    is_on_gpu: bool = False

    def concerns(self, clock: str) -> bool:
        """Whether a clock is one of the CPUs that were measured on; all others are looked at where they are locked."""
        cpus = self.cpu_clocks.get(clock)
        return cpus is not None and (not self.cpus or bool(cpus & self.cpus))


def judge(
    begin: Snapshot, end: Snapshot, between: Sequence[Snapshot] = (), manner: Manner | None = None
) -> tuple[Fault, ...]:
    """What was wrong between two looks.

    Args:
        between: looks in the meantime, in order of time.
    """
    manner = manner or Manner()
    looks = [begin, *between, end]
    found = [
        *_frozen(begin, end),
        *_counters(looks),
        *_bits(looks),
        *_log(begin, end),
        *(_gpus(looks) if manner.is_on_gpu else ()),
        *_states(looks),
        *_clocks(between, manner),
        *_firmware_clock(looks, manner),
        *_supply(looks),
        *_others(looks, manner),
    ]
    return tuple(dict.fromkeys(found))


def mean_clocks(looks: Sequence[Snapshot]) -> dict[str, float]:
    """Of clocks that every look could read."""
    names = {name for look in looks for name in look.clocks}
    read = {name: [look.clocks[name].now for look in looks if name in look.clocks] for name in names}
    known = {name: [one for one in values if one is not None] for name, values in read.items()}
    return {name: sum(known[name]) / len(known[name]) for name in sorted(names) if len(known[name]) == len(looks)}


def _frozen(begin: Snapshot, end: Snapshot) -> Iterator[Fault]:
    """What somebody set anew: two measurements on both sides of it are not of one device."""
    if begin.online != end.online:
        yield Fault("changed", f"CPUs that are switched on: {begin.online} → {end.online}")
    for name, was in begin.clocks.items():
        now = end.clocks.get(name, was)
        for what, before, after in (
            ("governor", was.governor, now.governor), ("least", was.low, now.low), ("most", was.high, now.high)
        ):  # fmt: skip
            # A CPU that is off tells nothing; that it was switched off is told above.
            if before is not None and after is not None and before != after:
                yield Fault("changed", f"{name}: {what} {before} → {after}")


def _log(begin: Snapshot, end: Snapshot) -> Iterator[Fault]:
    """Lines that were not there at the beginning; that a full log forgets its first ones is no fault."""
    if not (begin.has_log and end.has_log):
        return
    if begin.alarm_lines is None or end.alarm_lines is None:
        yield Fault("unknown", "the kernel's log, which tells of over-current, could not be read")
        return
    known = set(begin.alarm_lines)
    new = [line for line in end.alarm_lines if line not in known]
    if new:
        times = "once" if len(new) == 1 else f"{len(new)} times"
        yield Fault("undervoltage", f"the kernel told {times} of over-current or too low a supply: {new[-1]}")


def _gpus(looks: Sequence[Snapshot]) -> Iterator[Fault]:
    """Of the GPUs that are ours; of all where none can be told to be."""
    names = {name for look in looks for name in look.gpus}
    ours = {name for look in looks for name, reading in look.gpus.items() if reading.is_used}
    for name in sorted(ours or names):
        readings = [look.gpus[name] for look in looks if name in look.gpus]
        if any(reading.has_reasons and reading.reasons is None for reading in readings):
            yield Fault("unknown", f"{name} did not tell why its clock is what it is")
        for told in dict.fromkeys(reading.told() for reading in readings):
            if told:
                yield Fault("throttled", f"{name} is held down by {told}")
        if any(reading.has_users and reading.foreign is None for reading in readings):
            yield Fault("unknown", f"{name} did not tell who uses it")
        foreign = sorted({pid for reading in readings for pid in reading.foreign or ()})
        if foreign:
            yield Fault("foreign_gpu_process", f"{name} is used by others: process {', '.join(map(str, foreign))}")


def _counters(looks: Sequence[Snapshot]) -> Iterator[Fault]:
    for name in sorted({name for look in looks for name in look.counters}):
        values = [look.counters.get(name) for look in looks]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            yield Fault("unknown", f"{name}, which counts throttling, could not be read")
        if any(later < earlier for earlier, later in pairwise(known)):
            yield Fault("unknown", f"{name}, which counts throttling, started anew: {known[0]} → {known[-1]}")
        elif known and known[-1] > known[0]:
            yield Fault("throttled", f"{name} grew by {known[-1] - known[0]}")


def _bits(looks: Sequence[Snapshot]) -> Iterator[Fault]:
    asked = [look for look in looks if look.has_bits]
    bits = [look.bits for look in asked if look.bits is not None]
    if len(bits) < len(asked):
        yield Fault("unknown", "vcgencmd get_throttled did not answer")
    for bit, (kind, what) in PI_BITS.items():
        if any(value >> bit & 1 for value in bits):
            yield Fault(kind, f"{what} (bit {bit})")
        # What has been set since the look before happened between the two. One that was set before says nothing, and
        # one that is cleared neither: the kernel's own driver asks the firmware to forget.
        elif any(
            later >> (bit + _SINCE) & 1 and not earlier >> (bit + _SINCE) & 1 for earlier, later in pairwise(bits)
        ):
            yield Fault(kind, f"{what}, in the meantime (bit {bit + _SINCE})")


def _states(looks: Sequence[Snapshot]) -> Iterator[Fault]:
    for name in sorted({name for look in looks for name in look.coolers}):
        states = [look.coolers.get(name) for look in looks]
        if None in states:
            yield Fault("unknown", f"the state of {name} could not be read")
        # An idle powerclamp says -1.
        if (worst := max((state for state in states if state is not None), default=0)) > 0:
            yield Fault("cooling", f"{name} is at {worst}")
    for name in sorted({name for look in looks for name in look.alarms}):
        alarms = [look.alarms.get(name) for look in looks]
        if None in alarms:
            yield Fault("unknown", f"the alarm of {name} could not be read")
        if any(alarms):
            yield Fault("undervoltage", f"{name} tells of too low a supply")


def _clocks(between: Sequence[Snapshot], manner: Manner) -> Iterator[Fault]:
    """Only of looks from inside: at the beginning and the end nothing need run."""
    if not between:
        return
    means = mean_clocks(between)
    for name in sorted({name for look in between for name in look.clocks}):
        readings = [look.clocks[name] for look in between if name in look.clocks]
        known = [reading for reading in readings if reading.now is not None]
        if name == FIRMWARE_CLOCK or not known or not (manner.concerns(name) or name not in manner.cpu_clocks):
            continue
        mean = means.get(name, sum(reading.now or 0 for reading in known) / len(known))
        limit, why = _expected(name, known, manner)
        if limit is not None and mean < CLOCK_MIN * limit:
            yield Fault("slow_clock", f"{name} ran at {mean / limit:.0%} of {why}")


def _firmware_clock(looks: Sequence[Snapshot], manner: Manner) -> Iterator[Fault]:
    """Each look has what was asked for beside it: a clock that is low for want of work is none that was capped."""
    readings = [look.clocks[FIRMWARE_CLOCK] for look in looks if FIRMWARE_CLOCK in look.clocks]
    if any(reading.now is None for reading in readings):
        yield Fault("unknown", "vcgencmd measure_clock did not answer")
    known = [(one.now, one.wished) for one in readings if one.now is not None and one.wished is not None]
    if not known or manner.is_rest:
        return
    share = sum(now for now, _ in known) / sum(wished for _, wished in known)
    if share < CLOCK_MIN:
        yield Fault("slow_clock", f"{FIRMWARE_CLOCK} ran at {share:.0%} of what the kernel asked for")


def _expected(name: str, readings: Sequence[ClockReading], manner: Manner) -> tuple[float | None, str]:
    """What a clock should be, where anything says so: a free one may well be low while nothing needs it."""
    if all(reading.is_locked for reading in readings):
        return readings[0].high, "what it is locked to"
    if manner.is_busy and manner.concerns(name):
        return manner.first_clocks.get(name), "what it was at first"
    return None, ""


def _supply(looks: Sequence[Snapshot]) -> Iterator[Fault]:
    for name in sorted({name for look in looks for name in look.supplies_mv}):
        # A look that is not in full leaves some out.
        values = [look.supplies_mv[name] for look in looks if name in look.supplies_mv]
        known = [value for value in values if value is not None]
        if not known:
            yield Fault("unknown", f"the voltage of {name} could not be read", Affects.ENERGY)
        elif min(known) < SUPPLY_MIN_MV:
            yield Fault("undervoltage", f"{name} fell to {min(known) / 1e3:.2f} V")


def _others(looks: Sequence[Snapshot], manner: Manner) -> Iterator[Fault]:
    """What else the machine did. Latencies have the canary for that."""
    begin, end = looks[0], looks[-1]
    # Between the end of the first look and the beginning of the last, at the least, so that no time is too short.
    seconds = (end.at_ns - begin.at_ns) / 1e9
    if begin.foreign_busy_s is not None and end.foreign_busy_s is not None and seconds > 0:
        share = (end.foreign_busy_s - begin.foreign_busy_s) / seconds
        if share > FOREIGN_MAX:
            yield Fault("foreign_load", f"other programs took {share:.0%} of a CPU", Affects.ENERGY)
    if begin.swapped_pages is not None and end.swapped_pages is not None:
        pages = end.swapped_pages - begin.swapped_pages
        if pages > 0:
            yield Fault("swap", f"{pages} pages were swapped")
    waiting = [look.runnable for look in looks if look.runnable is not None]
    if manner.is_rest and sum(count > RUNNABLE_MAX for count in waiting) > len(waiting) / 2:
        yield Fault("foreign_load", f"{max(waiting)} tasks could run while the device should rest", Affects.ENERGY)
