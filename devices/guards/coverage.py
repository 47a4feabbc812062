"""What of a board the guards can see, and what it costs that they cannot see the rest; nothing is judged here.

It goes by what ``found`` found. A source that ``found`` learns of later and that has no words here is shown by its
field's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from ...profiler.records import Json
from .found import FIRMWARE_CLOCK, Sources
from .snapshot import Snapshot

#: Longer lists are told by their beginning: a server has two counters for each of its CPUs.
_SHOWN = 6
#: Fields of ``Sources`` that the guards below stand for, or that are none.
_SPOKEN_OF = frozenset(
    {"root", "counters", "coolers", "alarms", "clocks", "cpu_clocks", "temperatures", "supplies_mv", "asks_bits",
     "asks_supply", "asks_clock", "asks_log", "gpus", "is_board", "kind"}
)  # fmt: skip
_ALARM_REMEDY = {
    "jetson": "after measuring: dmesg | grep 'OC ALARM'; on a Nano that is too low a supply, whatever the desktop says",
    "raspberry-pi": "vcgencmd get_throttled must answer: join the group video, and log in again",
}
_BITS = "vcgencmd get_throttled (too low a supply, capped clock, throttling, soft limit of temperature)"
_COUNTS = {
    "oc1_event_cnt": " (too low a supply)",
    "oc2_event_cnt": " (over-current on average)",
    "oc3_event_cnt": " (over-current at a moment)",
}
_NOT_ASKED = "not asked, since this is a recording"
_GPU_CLOCK = "clock of the GPU"


@dataclass(frozen=True)
class Guard:
    """One thing that spoils measurements.

    Attributes:
        watched: by what it is seen, in words; empty where nothing tells.
        missing: what it costs that nothing tells; empty where something does.
        remedy: what would help; empty where nothing does.
    """

    what: str
    watched: tuple[str, ...] = ()
    missing: str = ""
    remedy: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if self.missing:
            return [f"! {self.what}: {self.missing}", *([f"    → {self.remedy}"] if self.remedy else [])]
        shown = ", ".join(self.watched[:_SHOWN])
        more = len(self.watched) - _SHOWN
        return [f"{self.what}: {shown}" + (f" and {more} more" if more > 0 else "")]

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        return {**asdict(self), "watched": list(self.watched)}


def coverage(sources: Sources, kind: str, look: Snapshot | None, *, has_gpu: bool) -> tuple[Guard, ...]:
    """What is watched and what is not, the watched first.

    Args:
        kind: of the board, as ``BoardIdentity.kind``.
        look: one at this machine, which tells whether others on it can be seen; None for a recording.
        has_gpu: whether there is a GPU that could be measured on.
    """
    found = [
        *_throttling(sources, kind),
        _clock("clock of the CPU", sources, kind, list(sources.cpu_clocks)),
        *([_gpu_clock(sources, kind, is_here=look is not None)] if has_gpu or sources.gpus else []),
        _temperatures(sources),
        *_supply(sources, kind),
        *_others(look),
        *([_others_on_gpu(sources, kind, is_here=look is not None)] if has_gpu or sources.gpus else []),
        *_without_words(sources),
    ]
    return tuple(sorted(found, key=lambda guard: bool(guard.missing)))


def _throttling(sources: Sources, kind: str) -> list[Guard]:
    """Events, and states: where both are missing, that is one thing to say."""
    events = (
        *([_BITS] if sources.asks_bits else []),
        *(f"{name}{_COUNTS.get(name, '')}" for name in sources.counters),
        *(["the kernel's log (too low a supply, over-current)"] if sources.asks_log else []),
    )
    found = []
    if events:
        found.append(Guard("throttling, as it happened", events))
    if sources.coolers:
        found.append(Guard("throttling for heat, as long as it lasts", tuple(sources.coolers)))
    if events:
        return found
    if kind == "jetson":
        cost = "of too low a supply and of over-current nothing tells, and what they slowed down counts"
        return [*found, Guard("electrical throttling", missing=cost, remedy=_ALARM_REMEDY[kind])]
    if not found:
        cost = "it is not seen: what it slowed down counts, unless a locked clock or the spread of the times tells"
        return [Guard("throttling", missing=cost, remedy=_ALARM_REMEDY.get(kind, ""))]
    return found


def _clock(what: str, sources: Sources, kind: str, names: Sequence[str]) -> Guard:
    if not names:
        return Guard(what, missing="it is not seen: a clock that fell looks like a slower kernel")
    # The firmware caps it without telling the kernel, which goes on to show what it asked for.
    wish = (
        ("as the kernel wishes it; that the firmware capped it only vcgencmd tells",)
        if kind == "raspberry-pi" and FIRMWARE_CLOCK not in names
        else ()
    )
    return Guard(what, (*names, *wish))


def _gpu_clock(sources: Sources, kind: str, *, is_here: bool) -> Guard:
    if sources.gpus is None and not is_here and kind != "jetson":
        return Guard(_GPU_CLOCK, (_NOT_ASKED,))
    told = [gpu.name for gpu in sources.gpus.gpus if gpu.tells_reasons] if sources.gpus is not None else []
    if told:
        return Guard(_GPU_CLOCK, tuple(f"what holds it down, of {name}, by NVML" for name in told))
    names = [name.removeprefix("GPU ") for name in sources.clocks if name not in sources.cpu_clocks]
    return _clock(_GPU_CLOCK, sources, "", names)


def _temperatures(sources: Sources) -> Guard:
    if not sources.temperatures:
        cost = "none is told: a measurement may begin in the heat of another, and nobody waits for the board to cool"
        return Guard("temperatures", missing=cost)
    if not sources.is_board:
        return Guard("temperatures, not waited for", tuple(sources.temperatures))
    return Guard("temperatures, waited for until they are as before", tuple(sources.temperatures))


def _supply(sources: Sources, kind: str) -> list[Guard]:
    told = (
        *sources.supplies_mv,
        *(["EXT5V by vcgencmd pmic_read_adc"] if sources.asks_supply else []),
        *sources.alarms,
    )
    # The first counter of a Jetson counts too low a supply, and so does the first bit of a Raspberry Pi.
    by_others = any(name.startswith("oc1_") for name in sources.counters) or sources.asks_bits
    if told:
        return [Guard("voltage of the supply", told)]
    if by_others or kind == "x86":
        return []
    return [Guard("voltage of the supply", missing="it is not seen: energies count that a sagging supply spoiled")]


def _others(look: Snapshot | None) -> list[Guard]:
    what, swapping = "other programs on the CPU", "swapping"
    if look is None:
        return [Guard(f"{what}, {swapping}", (_NOT_ASKED,))]
    load = Guard(what, ("/proc/stat, less what is our own",))
    if look.foreign_busy_s is None:
        cost = (
            "this kernel does not say what is ours, so energies count that others added to; latencies have the canary"
        )
        load = Guard(what, missing=cost)
    swap = Guard(swapping, ("/proc/vmstat",))
    if look.swapped_pages is None:
        swap = Guard(swapping, missing="it is not seen: a network that does not fit looks slow")
    return [load, swap]


def _others_on_gpu(sources: Sources, kind: str, *, is_here: bool) -> Guard:
    what = "other programs on the GPU"
    if sources.gpus is None and not is_here and kind != "jetson":
        return Guard(what, (_NOT_ASKED,))
    told = [gpu.name for gpu in sources.gpus.gpus if gpu.tells_users] if sources.gpus is not None else []
    if told and sources.gpus is not None and sources.gpus.sees_all:
        return Guard(what, tuple(f"{name} by NVML: all that compute, but none that only draws" for name in told))
    if told:
        return Guard(
            what,
            missing="those outside this container are not seen: what they slowed down counts",
            remedy="give the container its host's processes (docker run --pid=host), or measure outside",
        )
    missing = "they are not seen: what they slowed down counts"
    if sources.gpus is None and kind != "jetson":
        return Guard(what, missing=missing, remedy="pip install nvidia-ml-py")
    return Guard(what, missing=missing, remedy="leave the GPU to the measurement, a desktop included")


def _without_words(sources: Sources) -> list[Guard]:
    found = []
    for one in fields(sources):
        value = getattr(sources, one.name)
        if one.name in _SPOKEN_OF or not value:
            continue
        names = tuple(str(name) for name in value) if isinstance(value, (Mapping, tuple, list)) else ("yes",)
        found.append(Guard(one.name.replace("_", " "), names))
    return found
