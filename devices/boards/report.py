"""What `doctor` says of a board, as data and as lines: identity, sensors, versions that fail, and what to mend."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...profiler.records import Json
from ..commands import Commands, HostCommands
from ..sensors import FoundSensors, find_sensors
from ..sensors.source import Problem
from .board import BoardIdentity
from .identity import identify
from .known_bad import KnownBad, known_bad, no_runtime
from .reading import text_of

#: In the low half of what ``vcgencmd get_throttled`` says: what is so at this moment.
_THROTTLED_NOW = {
    0: "under-voltage",
    1: "the clock is capped",
    2: "it throttles",
    3: "the soft limit of temperature is reached",
}


@dataclass(frozen=True)
class Advice:
    """What makes numbers noisier on this board, and what helps."""

    what: str
    remedy: str


@dataclass(frozen=True)
class BoardReport:
    """Everything that can be said of a board before anything is measured.

    Attributes:
        whole_meters: power meters that say what the device takes as a whole, in order of preference.
        other_meters: those of a part of it.
    """

    board: BoardIdentity
    machine: str
    whole_meters: tuple[str, ...]
    other_meters: tuple[str, ...]
    meter_problems: tuple[Advice, ...]
    versions: tuple[KnownBad, ...]
    unusable: str | None
    advice: tuple[Advice, ...]

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        return {
            **self.board.document(),
            "machine": self.machine,
            "whole_meters": list(self.whole_meters),
            "other_meters": list(self.other_meters),
            "meter_problems": [asdict(one) for one in self.meter_problems],
            "known_bad_versions": [asdict(one) for one in self.versions],
            "unusable": self.unusable,
            "advice": [asdict(one) for one in self.advice],
        }

    def board_lines(self) -> list[str]:
        """For people: everything but the power meters."""
        return [
            *_identity_lines(self.board),
            *(f"throttling is told by {source}" for source in self.board.throttle_sources),
            *(f"not known: {one.what}\n    → {one.where}" for one in self.board.missing),
            *(["! " + self.unusable] if self.unusable else []),
            *(
                f"! {one.package}{one.versions}: {one.consequence}\n    → {one.remedy}\n    ({one.source})"
                for one in self.versions
            ),
            *(_advised(one) for one in self.advice),
        ]

    def meter_lines(self) -> list[str]:
        """For people: the power meters, unread."""
        return [
            *(f"power meter of the whole: {name}" for name in self.whole_meters or ("none that can be read",)),
            *(f"power meter of a part: {name}" for name in self.other_meters),
            *(_advised(one) for one in self.meter_problems),
        ]


def report_board(
    root: Path = Path("/"),
    commands: Commands | None = None,
    machine: str | None = None,
    sensors: FoundSensors | None = None,
) -> BoardReport:
    """Look at a board.

    Args:
        root, commands, machine: those of a recorded one.
        sensors: what was found already; None to look.
    """
    asked, architecture = commands or HostCommands(), machine or platform.machine()
    board, sensors = identify(root, asked), sensors or find_sensors(root, asked)
    return BoardReport(
        board=board,
        machine=architecture,
        whole_meters=tuple(one.facts.name for one in sensors.sensors if one.is_whole),
        other_meters=tuple(one.facts.name for one in sensors.sensors if not one.is_whole),
        meter_problems=_by_remedy(sensors.problems),
        versions=known_bad(board, architecture),
        unusable=no_runtime(architecture),
        advice=(*_of_jetson(root, board), *_of_raspberry_pi(asked)),
    )


def _by_remedy(problems: tuple[Problem, ...]) -> tuple[Advice, ...]:
    """Problems that the same thing helps against, as one."""
    remedies = list(dict.fromkeys(one.remedy for one in problems))
    return tuple(Advice("; ".join(one.what for one in problems if one.remedy == each), each) for each in remedies)


def _identity_lines(board: BoardIdentity) -> list[str]:
    mode = None if board.power_mode is None else f"{board.power_mode.name} ({board.power_mode.number})"
    others = [one.name for one in board.power_modes if one != board.power_mode]
    facts = {
        "board": f"{board.name or 'without a name'} ({board.kind})",
        "chip": board.soc,
        "module": board.module,
        "L4T": board.l4t if board.jetpack is None else f"{board.l4t}, JetPack {board.jetpack}",
        "power mode": f"{mode}; others: {', '.join(others)}" if mode and others else mode,
        "GPU": ", ".join(board.gpus) or None,
        "glibc": board.glibc,
    }
    return [f"{key}: {value}" for key, value in facts.items() if value is not None]


def _advised(one: Advice) -> str:
    return f"! {one.what}" + (f"\n    → {one.remedy}" if one.remedy else "")


def _of_jetson(root: Path, board: BoardIdentity) -> list[Advice]:
    """Clocks that move between two limits, and cores that are off."""
    if board.kind != "jetson":
        return []
    found = []
    policies = sorted(root.glob("sys/devices/system/cpu/cpufreq/policy[0-9]*"))
    gpus = [one for one in sorted(root.glob("sys/class/devfreq/*")) if _is_gpu(one)]
    if any(_moves(one, "scaling_min_freq", "scaling_max_freq") for one in policies):
        found.append(Advice("the CPU's clock is not locked", "sudo jetson_clocks, after sudo jetson_clocks --store"))
    if any(_moves(one, "min_freq", "max_freq") for one in gpus):
        found.append(Advice("the GPU's clock is not locked", "sudo jetson_clocks, after sudo jetson_clocks --store"))
    offline = text_of(root / "sys/devices/system/cpu/offline")
    if offline is not None:
        found.append(Advice(f"CPUs {offline} are off", "name the mode with every number, or change it"))
    return found


def _is_gpu(folder: Path) -> bool:
    """By the name in the device tree, since addresses differ; Thor's has none there."""
    name = text_of(folder / "device/of_node/name")
    return name in ("gpu", "gv11b", "gp10b", "ga10b", "gb10b") or folder.name.startswith("gpu-gpc-")


def _moves(folder: Path, lowest: str, highest: str) -> bool:
    low, high = text_of(folder / lowest), text_of(folder / highest)
    return low is not None and high is not None and low != high


def _of_raspberry_pi(commands: Commands) -> list[Advice]:
    answer = commands.run(("vcgencmd", "get_throttled"))
    key, _, value = ("" if answer is None else answer.stdout.strip()).partition("=")
    try:
        bits = int(value, 16) if key == "throttled" else 0
    except ValueError:
        return [Advice(f"vcgencmd get_throttled says something unknown: {value}", "")]
    now = [text for bit, text in _THROTTLED_NOW.items() if bits >> bit & 1]
    return [Advice(f"at this moment: {', '.join(now)}", "a stronger supply or a cooler place")] if now else []
