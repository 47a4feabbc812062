"""What makes numbers noisier on this kind of board, and what helps: clocks that move, cores that are off, low volts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..commands import Commands
from ..guards.found import Sources, number_of
from .board import BoardIdentity
from .reading import text_of

#: ``vcgencmd get_throttled``: what is so at this moment; the same 16 bits further on is what was.
_THROTTLED = {
    0: "under-voltage",
    1: "the clock is capped",
    2: "it throttles",
    3: "the soft limit of temperature is reached",
}
_SINCE = 16
#: Counters that are named; a server has two for each CPU.
_SHOWN = 4
_LOCKS = "sudo jetson_clocks --store, sudo jetson_clocks; afterwards: sudo jetson_clocks --restore"
_PROFILE = "measure as root with --control jetson-maxn-locked, which puts everything back"


@dataclass(frozen=True)
class Advice:
    """What makes numbers noisier on this board, and what helps; no remedy where nothing does."""

    what: str
    remedy: str


def advice(root: Path, board: BoardIdentity, commands: Commands) -> tuple[Advice, ...]:
    """For this board, the worst first."""
    if board.kind == "jetson":
        return tuple(_of_jetson(root, board))
    return tuple(_of_raspberry_pi(commands)) if board.kind == "raspberry-pi" else ()


def counted(sources: Sources) -> tuple[Advice, ...]:
    """Counters of throttling that have counted since the start: what happened may happen again."""
    told = [f"{name} {value}" for name, path in sources.counters.items() if (value := number_of(path))]
    if not told:
        return ()
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return (
        Advice(
            f"it throttled since the start: {', '.join(told[:_SHOWN])}{more}",
            "windows in which it does so again are rejected; a lower power mode, a stronger supply or a cooler place",
        ),
    )


def _of_jetson(root: Path, board: BoardIdentity) -> list[Advice]:
    """Clocks that move between two limits, and cores that are off."""
    found = []
    remedy = _PROFILE if board.power_mode is not None and board.power_mode.name == "MAXN" else _LOCKS
    cpus = [
        span
        for one in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy[0-9]*"))
        if (span := _span(one, "scaling_min_freq", "scaling_max_freq", 1e3))
    ]
    gpus = [
        span
        for one in sorted(root.glob("sys/class/devfreq/*"))
        if _is_gpu(one) and (span := _span(one, "min_freq", "max_freq", 1e6))
    ]
    moving = [
        f"the {what} between {', '.join(dict.fromkeys(spans))} MHz"
        for what, spans in (("CPU's clock moves", cpus), ("GPU's clock moves", gpus))
        if spans
    ]
    if moving:
        found.append(Advice("; ".join(moving), remedy))
    offline = text_of(root / "sys/devices/system/cpu/offline")
    if offline is not None:
        found.append(
            Advice(
                f"CPUs {offline} are off in this power mode", "no fault: numbers of another mode are another device's"
            )
        )
    return found


def _is_gpu(folder: Path) -> bool:
    """By the name in the device tree, since addresses differ; Thor's has none there."""
    name = text_of(folder / "device/of_node/name")
    return name in ("gpu", "gv11b", "gp10b", "ga10b", "gb10b") or folder.name.startswith("gpu-gpc-")


def _span(folder: Path, lowest: str, highest: str, per_mhz: float) -> str:
    """Between which limits a clock may move, in MHz; empty where it is locked or not told."""
    low, high = text_of(folder / lowest) or "", text_of(folder / highest) or ""
    if not low.isdecimal() or not high.isdecimal() or low == high:
        return ""
    return f"{int(low) / per_mhz:.0f} and {int(high) / per_mhz:.0f}"


def _of_raspberry_pi(commands: Commands) -> list[Advice]:
    answer = commands.run(("vcgencmd", "get_throttled"))
    key, _, value = ("" if answer is None else answer.stdout.strip()).partition("=")
    try:
        bits = int(value, 16) if key == "throttled" else 0
    except ValueError:
        return [Advice(f"vcgencmd get_throttled says something unknown: {value}", "")]
    now = [text for bit, text in _THROTTLED.items() if bits >> bit & 1]
    before = [text for bit, text in _THROTTLED.items() if bits >> (bit + _SINCE) & 1]
    told = [f"at this moment: {', '.join(now)}"] if now else []
    if before:
        # Not "since the start": the kernel's own driver asks the firmware every two seconds to forget.
        told.append(f"before, as far as the firmware remembers: {', '.join(before)}")
    if not told:
        return []
    is_volts = bits & 1 or bits >> _SINCE & 1
    remedy = "a supply with more amperes, and a shorter cable" if is_volts else "a cooler place, or a fan"
    return [Advice(f"{'; '.join(told)} ({value})", remedy)]
