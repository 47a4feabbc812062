"""What each control profile changes on this board: files with what they should hold, a power mode, programs.

A profile that the board cannot have is refused with what it lacks; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...profiler.errors import UsageError
from . import nvpmodel

AS_IS = "as-is"
_POLICIES = "sys/devices/system/cpu/cpufreq/policy[0-9]*"
#: What ``jetson_clocks --store`` keeps, which is what the program changes; the fan is left alone without ``--fan``.
_CLOCK_FILES = (
    "sys/devices/system/cpu/cpu[0-9]*/online",
    f"{_POLICIES}/scaling_max_freq",
    f"{_POLICIES}/scaling_min_freq",
    f"{_POLICIES}/scaling_governor",
    "sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*/disable",
    "sys/kernel/debug/clk/override.emc/clk_state",
    "sys/kernel/debug/bpmp/debug/clk/emc/mrq_rate_locked",
)
_GPU_FILES = ("max_freq", "min_freq", "device/railgate_enable")


@dataclass(frozen=True)
class Plan:
    """What a profile does on one board, in this order.

    Attributes:
        mode: of nvpmodel; None leaves it.
        commands: programs that change something.
        saved: files that those programs change, relative to the root.
        writes: files and what is written into them, relative to the root.
    """

    mode: int | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    saved: tuple[str, ...] = ()
    writes: Mapping[str, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files whose contents are to come back."""
        return tuple(dict.fromkeys([*self.saved, *(self.writes or {})]))

    def lines(self) -> list[str]:
        """What it does, for people."""
        mode = [] if self.mode is None else [f"nvpmodel -m {self.mode}"]
        written = [f"/{path} ← {value}" for path, value in (self.writes or {}).items()]
        return [*mode, *(" ".join(command) for command in self.commands), *written]


@dataclass(frozen=True)
class ControlProfile:
    """A profile.

    Attributes:
        plan: what it does on the board under a root.
    """

    name: str
    summary: str
    plan: Callable[[Path], Plan]


def _as_is(root: Path) -> Plan:
    del root
    return Plan()


def _governor_performance(root: Path) -> Plan:
    policies = sorted(root.glob(_POLICIES))
    if not policies:
        raise UsageError(
            "this machine has no governor of frequencies", remedy="leave out --control; a VM has its host's"
        )
    writes = {}
    for policy in policies:
        known = _words(policy / "scaling_available_governors")
        if "performance" not in known:
            told = ", ".join(known) or "none that may be read"
            raise UsageError(f"{policy.name} has no governor performance; it has {told}")
        writes[_relative(policy / "scaling_governor", root)] = "performance"
    return Plan(writes=writes)


def _jetson_maxn_locked(root: Path) -> Plan:
    return Plan(_mode(root, "MAXN"), (("jetson_clocks",),), saved=tuple(_clock_files(root)))


def _jetson_5w(root: Path) -> Plan:
    return Plan(_mode(root, "5W"), saved=tuple(_clock_files(root)))


#: By name, in the order in which they are listed.
PROFILES: Mapping[str, ControlProfile] = {
    one.name: one
    for one in (
        ControlProfile(AS_IS, "change nothing", _as_is),
        ControlProfile("governor-performance", "CPU frequency governor: performance", _governor_performance),
        ControlProfile(
            "jetson-maxn-locked", "Jetson: power mode MAXN, then jetson_clocks: all clocks at their highest",
            _jetson_maxn_locked,
        ),
        ControlProfile("jetson-5w", "Jetson Nano: power mode 5W: two cores, lower clocks", _jetson_5w),
    )
}  # fmt: skip


def control_profile(name: str) -> ControlProfile:
    """The profile of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in PROFILES:
        raise UsageError(f"there is no control profile {name!r}", remedy=f"there are {', '.join(PROFILES)}")
    return PROFILES[name]


def _mode(root: Path, name: str) -> int:
    found = nvpmodel.modes(root)
    if not found:
        raise UsageError("this is no Jetson: it has no /etc/nvpmodel.conf", remedy="edgecost control list")
    if name not in found:
        raise UsageError(f"this board has no power mode {name}", remedy=f"it has {', '.join(found)}")
    return found[name]


def _clock_files(root: Path) -> Iterator[str]:
    for pattern in _CLOCK_FILES:
        for path in sorted(root.glob(pattern)):
            yield _relative(path, root)
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        if "gpu" in folder.name or folder.name.rpartition(".")[2] in ("gv11b", "gp10b", "ga10b", "gb10b"):
            for name in _GPU_FILES:
                if (folder / name).exists():
                    yield _relative(folder / name, root)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split()
    except OSError:
        return []
