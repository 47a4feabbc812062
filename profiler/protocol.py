"""The measuring protocol as named constants with their reasons, and the rules that accept, reject and stop.

The evidence for each number was gathered on a shared two-core virtual machine with random neighbours, on kernels from
5 µs to 3 ms; ``docs/explain/protocol.md`` retells it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import UsageError
from .records import Visit
from .statistics import median, median_interval, quantile

#: Changes when any rule below changes what a number means; stored with each measurement.
PROTOCOL = "edgecost-4"

#: Sessions that are interleaved in one runner: enough for a visit's neighbours to be random, few enough to stay in
#: memory.
GROUP_SIZE = 32
#: Single kernels take little memory, so that more of them can share the start of a runner.
KERNEL_GROUP_SIZE = 96
#: First runs allocate, page in and settle the branch predictors; by 2 ms both small and large kernels are steady.
WARMUP_RUNS_MIN = 3
WARMUP_RUNS_MAX = 10
WARMUP_NS = 2_000_000
#: The neighbour's data fill the caches; without two discarded runs whole networks read up to two thirds too high.
DISCARDS = 2
#: The shortest kernels settle by time rather than by runs, but no later than this.
DISCARDS_MAX = 8
#: What does not fit the cache of a core takes several runs to come as near as it will. On a Xeon whose last cache holds
#: what the cores gave up, a kernel of 9.6 MB took 1.0, 0.79, 0.46, 0.47, 0.41 and then 0.40 ms. So runs are discarded
#: until one takes no more than this per cent of the shortest so far, or is hardly faster than the one before it (a
#: neighbour may keep all of them above the shortest), and no more than so many.
SETTLED_PERCENT, FASTER_PERCENT = 110, 95
SETTLE_MAX = 5
#: Timed runs of a visit: about this long, so that a scheduler slice rarely ends inside it, but never fewer than 3.
VISIT_NS = 1_500_000
RUNS_MIN = 3
RUNS_MAX = 30
#: The first products after a visit find cold caches; the smallest of a few is the machine's state, not the neighbour's.
CANARY_RUNS = 6
#: A canary this much above the session's quiet level means preemption, a lower clock or a busy neighbour.
CANARY_LIMIT = 1.15
#: The canary's quiet level: a low percentile is what the machine does undisturbed, the minimum would be a lucky draw.
CANARY_PERCENTILE = 20
#: Wall above CPU time by this factor: the thread was off the CPU during the run. Only for one thread on a CPU.
DUAL_CLOCK_LIMIT = 1.03
#: Below this a run is too short for the CPU clock's own cost (0.7 µs) and a context switch decides instead.
DUAL_CLOCK_MIN_NS = 200_000
#: With this many short runs the median shrugs off the one that an involuntary context switch hit.
SWITCH_TOLERANT_RUNS = 10
#: Fewest valid visits from which a median's 95 % order-statistic interval exists at all.
VISITS_MIN = 6
#: Settling again takes more than half of a kernel's time when every visit begins with it. So one stay with a kernel has
#: several visits, which share their canaries; what differs from stay to stay (neighbours, the memory around) needs
#: several stays all the same.
KERNEL_VISITS_PER_STAY, KERNEL_STAYS_MIN = 3, 3


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes:
        target: stop at this relative half-width of the 95 % interval of the median.
        visits_min: valid visits before stopping is considered; with fewer, loading would take as long as measuring.
        visits_per_stay: visits that follow one another once a workload has settled, before the next one's turn.
        stays_min: stays with a valid visit before stopping is considered.
        visits_max: valid visits after which a workload is stored ``unconverged``.
        rounds_max: visits, rejected ones included, after which it is stored as it is: a machine that is busy all the
            time should not be measured for ever.
        group_size: workloads that share a runner.
        group_max_s: seconds after which a group is stored as it is.
        warmup_runs, warmup_ns: first runs of a session at the least, and the time they take together at the least,
            before it is visited at all.
        discards: first runs of a visit that are not timed, at the least.
        discard_ns: runs are discarded until they took this long together, or ``DISCARDS_MAX`` were.
        visit_ns: about how long a visit's timed runs take together.
        runs_min, runs_max: timed runs of a visit at the least, however long they take, and at the most.
        visit_timeout_s: a visit or load that takes longer is a hang; the runner is killed.
        memory_limit_bytes: address space of the runner; None leaves it to the operating system.
    """

    target: float = 0.02
    visits_min: int = 20
    visits_per_stay: int = 1
    stays_min: int = 1
    visits_max: int = 40
    rounds_max: int = 120
    group_size: int = GROUP_SIZE
    group_max_s: float = 120.0
    warmup_runs: int = WARMUP_RUNS_MIN
    warmup_ns: int = WARMUP_NS
    discards: int = DISCARDS
    discard_ns: int = 0
    visit_ns: int = VISIT_NS
    runs_min: int = RUNS_MIN
    runs_max: int = RUNS_MAX
    visit_timeout_s: float = 60.0
    memory_limit_bytes: int | None = None
    seed: int = 0


#: For single kernels, which are many. They bring few bytes along, so that one discarded run settles the caches, or
#: 0.05 ms of them. Sweeps over recorded runs of a hundred kernels from 3 µs to 2 ms found longer visits and more stays
#: no better across processes, only slower; two stays instead of three were worse.
KERNELS = Settings(
    visits_min=KERNEL_VISITS_PER_STAY * KERNEL_STAYS_MIN,
    visits_per_stay=KERNEL_VISITS_PER_STAY,
    stays_min=KERNEL_STAYS_MIN,
    visits_max=90,
    rounds_max=240,
    group_size=KERNEL_GROUP_SIZE,
    warmup_runs=1,
    warmup_ns=200_000,
    discards=1,
    discard_ns=50_000,
    visit_ns=100_000,
    runs_min=1,
    runs_max=16,
)
#: By how long one is willing to wait. ``standard`` is what tables and predictors are made of.
PRESETS: Mapping[str, Settings] = {
    "quick": replace(KERNELS, target=0.05, visits_max=21, rounds_max=42, group_max_s=30.0),
    "standard": Settings(),
    "careful": Settings(target=0.01, visits_min=40, visits_max=160, rounds_max=400, group_max_s=600.0),
}


def preset(name: str, *, target: float | None = None, max_time_s: float | None = None) -> Settings:
    """A preset with what was asked for in its place.

    Raises:
        UsageError: there is no such preset, or the interval or time asked for makes no sense.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    settings = PRESETS[name]
    if target is not None:
        if not 0 < target < 1:
            raise UsageError(f"an interval of ±{target:.3%} cannot be measured; ask for 1% or 5%")
        # A narrow interval needs visits, a wide one may stop early.
        scale = max(1.0, (settings.target / target) ** 2)
        most, rounds = int(settings.visits_max * scale), int(settings.rounds_max * scale)
        settings = replace(settings, target=target, visits_max=most, rounds_max=rounds)
    if max_time_s is not None:
        if not max_time_s > 0:
            raise UsageError("the time limit must be more than 0 s")
        settings = replace(settings, group_max_s=max_time_s)
    return settings


def runner_rules(settings: Settings | None = None) -> dict[str, int]:
    """The part of the protocol that the runner carries out."""
    settings = settings or Settings()
    return {
        "warmup_runs_min": settings.warmup_runs,
        "warmup_runs_max": WARMUP_RUNS_MAX,
        "warmup_ns": settings.warmup_ns,
        "discards": settings.discards,
        "discards_max": max(DISCARDS_MAX, settings.discards),
        "discard_ns": settings.discard_ns,
        "settled_percent": SETTLED_PERCENT,
        "faster_percent": FASTER_PERCENT,
        "settle_max": max(SETTLE_MAX, settings.discards),
        "visits_per_stay": settings.visits_per_stay,
        "visit_ns": settings.visit_ns,
        "runs_min": settings.runs_min,
        "runs_max": settings.runs_max,
        "canary_runs": CANARY_RUNS,
    }


def judge_visit(
    ordinal: int,
    session: str,
    wall_ns: Sequence[int],
    cpu_ns: Sequence[int],
    canary_ns: tuple[int, int],
    switches: int,
    *,
    canary_baseline_ns: float,
    single_thread: bool,
) -> Visit:
    """Accept or reject one visit by cause; a rejected visit keeps its samples and says why."""
    kept = list(wall_ns)
    reason = ""
    if max(canary_ns) > CANARY_LIMIT * canary_baseline_ns:
        reason = "canary"
    elif single_thread and cpu_ns and median(wall_ns) >= DUAL_CLOCK_MIN_NS:
        kept = _on_cpu(wall_ns, cpu_ns)
        reason = "" if kept else "preempted"
    elif single_thread and switches and len(wall_ns) < SWITCH_TOLERANT_RUNS:
        reason = "context_switch"
    return Visit(
        ordinal=ordinal,
        session=session,
        wall_ns=tuple(wall_ns),
        cpu_ns=tuple(cpu_ns),
        canary_ns=canary_ns,
        switches=switches,
        reject_reason=reason,
        value_ns=None if reason else float(median(kept)),
    )


def _on_cpu(wall_ns: Sequence[int], cpu_ns: Sequence[int]) -> list[int]:
    """The runs during which the thread kept the CPU; with one CPU time for the whole visit, all of them or none."""
    if len(cpu_ns) == len(wall_ns):
        return [wall for wall, cpu in zip(wall_ns, cpu_ns, strict=True) if wall <= DUAL_CLOCK_LIMIT * cpu]
    return list(wall_ns) if sum(wall_ns) <= DUAL_CLOCK_LIMIT * sum(cpu_ns) else []


def has_converged(visits: Sequence[Visit], settings: Settings) -> bool:
    """Whether the median of the valid visits is known to the target, from visits of enough stays."""
    values = [visit.value_ns for visit in visits if visit.value_ns is not None]
    if len(values) < settings.visits_min:
        return False
    stays = {
        (visit.session, (visit.ordinal - 1) // settings.visits_per_stay)
        for visit in visits
        if visit.value_ns is not None
    }
    return len(stays) >= settings.stays_min and reaches_target(values, settings.target)


def reaches_target(values: Sequence[float], target: float) -> bool:
    """Whether half the 95 % interval of the median is within ``target`` of it."""
    lo, hi = median_interval(values)
    return (hi - lo) / 2 <= target * median(values)


def is_exhausted(visits: Sequence[Visit], settings: Settings) -> bool:
    """Whether more visits are not worth their time."""
    valid = sum(1 for visit in visits if visit.value_ns is not None)
    return valid >= settings.visits_max or len(visits) >= settings.rounds_max


def canary_baseline(canaries_ns: Sequence[int]) -> float:
    """The canary's quiet level in this session; infinite (nothing is rejected) before there is one."""
    if not canaries_ns:
        return math.inf
    return quantile(canaries_ns, CANARY_PERCENTILE / 100)
