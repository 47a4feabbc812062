"""This machine as a device: what it is, what stays the same during a session, and what would make numbers noisy.

Reads only; nothing is changed. What cannot be read is ``None``, never a guess. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..profiler.records import Device, Environment, Json, RuntimeProfile
from ..profiler.runtimes import allowed_cpus
from ..profiler.variables import variables_here
from .boards import jetson
from .boards.thermal import thermal_zones

#: How the kernel writes the size of a cache.
_CACHE_UNITS = {"K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True)
class HostFacts:
    """What a machine says of itself. Lists are as the kernel orders them.

    Attributes:
        cpu_model: the board's name where it has a device tree, else the processor's.
        architecture, cpus_allowed, kernel: as this process finds them, recorded machine or not.
        hypervisor: its vendor in a virtual machine; None elsewhere, and where the processor does not tell.
        core_cache_bytes: the second-level cache, the last one that a core has to itself or to few.
        l4t, power_mode: of a Jetson: release of NVIDIA's system, and the mode of ``nvpmodel``.
    """

    cpu_model: str | None
    architecture: str
    cpus_allowed: int
    memory_bytes: int | None
    kernel: str
    hypervisor: str | None
    governors: tuple[str, ...]
    turbo: bool | None
    temperatures_celsius: tuple[float, ...]
    load_1min: float | None
    core_cache_bytes: int | None = None
    l4t: str | None = None
    power_mode: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something that makes measurements noisier: what, what follows, and what helps."""

    what: str
    consequence: str
    remedy: str


def read_host(root: Path = Path("/")) -> HostFacts:
    """Look at this machine; ``root`` is another tree for recorded machines."""
    cpuinfo = _read(root / "proc/cpuinfo") or ""
    fields = dict(_pairs(cpuinfo))
    mode = jetson.power_mode(root)
    return HostFacts(
        # Arm kernels call a whole family of boards "ARMv8 Processor rev 1 (v8l)"; the device tree knows the board.
        cpu_model=_read(root / "proc/device-tree/model") or fields.get("model name") or fields.get("Model"),
        architecture=platform.machine(),
        cpus_allowed=len(allowed_cpus()),
        memory_bytes=_memory(root),
        kernel=f"{platform.system()} {platform.release()}",
        hypervisor=_hypervisor(root, fields.get("flags", "")),
        governors=tuple(sorted(set(_read_all(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")))),
        turbo=_turbo(root),
        temperatures_celsius=_temperatures(root),
        load_1min=_load(root),
        core_cache_bytes=_core_cache(root),
        l4t=jetson.l4t_release(root),
        power_mode=None if mode is None else mode.name,
    )


def read_conditions(root: Path = Path("/")) -> dict[str, Json]:
    """What moves all the time: load, clocks, temperatures, free memory and CPU seconds since boot, as far as known.

    ``cpu_busy_s`` and ``cpu_stolen_s`` add up over all CPUs: between two readings they tell what others took.
    """
    clocks_khz = _read_all(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    memory = dict(_pairs(_read(root / "proc/meminfo") or ""))
    available = memory.get("MemAvailable")
    busy_s, stolen_s = _cpu_seconds(root)
    return {
        "load_1min": _load(root),
        "clocks_mhz": [int(value) / 1000 for value in clocks_khz if value.isdecimal()],
        "temperatures_celsius": list(_temperatures(root)),
        "memory_available_bytes": None if available is None else int(available.split()[0]) * 1024,
        "cpu_busy_s": busy_s,
        "cpu_stolen_s": stolen_s,
    }


def host_device(facts: HostFacts, root: Path = Path("/")) -> Device:
    """The machine as a device; its identity survives a change of host name, unless there is nothing else to go by."""
    text = f"{_machine_id(root)}/{facts.cpu_model}/{facts.architecture}"
    memory = f", {facts.memory_bytes / 2**30:.0f} GiB" if facts.memory_bytes else ""
    return Device(
        name=socket.gethostname(),
        identity=hashlib.sha256(text.encode()).hexdigest(),
        description=f"{facts.cpu_model or facts.architecture}, {facts.cpus_allowed} CPUs{memory}",
    )


def host_environment(facts: HostFacts, profile: RuntimeProfile, cpus: tuple[int, ...]) -> Environment:
    """The frozen conditions of a session: everything that does not change from one run to the next."""
    document: dict[str, Json] = {
        "cpu_model": facts.cpu_model,
        "architecture": facts.architecture,
        "kernel": facts.kernel,
        "hypervisor": facts.hypervisor,
        "governors": list(facts.governors),
        "turbo": facts.turbo,
        "memory_bytes": facts.memory_bytes,
        "python_version": platform.python_version(),
        "runtime": f"{profile.runtime} {profile.version}",
        "pinned_cpus": list(cpus),
    }
    # Only where there are such things: an environment is known by its document, and that of all others stays as it was.
    document.update({key: value for key, value in (("l4t", facts.l4t), ("power_mode", facts.power_mode)) if value})
    if variables := variables_here(profile.options):
        document["variables"] = {**variables}
    return Environment(document)


def find_noise(facts: HostFacts) -> tuple[Finding, ...]:
    """What on this machine would make measurements noisy, worst first."""
    found = []
    if facts.load_1min is not None and facts.load_1min > 0.5 * facts.cpus_allowed:
        found.append(
            Finding(
                f"the load is {facts.load_1min:.1f} on {facts.cpus_allowed} CPUs",
                "other programs take the caches and the CPU; visits are rejected and measuring takes longer",
                "stop other programs, or wait",
            )
        )
    if facts.governors and set(facts.governors) != {"performance"}:
        found.append(
            Finding(
                f"the CPU frequency governor is {', '.join(facts.governors)}",
                "the clock follows the load, so short kernels are measured at a lower clock than long ones",
                "as root: --control governor-performance, which puts it back; or cpupower frequency-set -g performance",
            )
        )
    if facts.turbo:
        found.append(
            Finding(
                "turbo is on",
                "the clock depends on temperature and on the other cores",
                "switch it off in the firmware",
            )
        )
    if facts.hypervisor:
        found.append(
            Finding(
                f"this is a virtual machine ({facts.hypervisor})",
                "neighbours that cannot be seen from inside share caches and memory",
                "trust the repeatability figure, not the interval within one session",
            )
        )
    if facts.cpus_allowed < 2:
        found.append(
            Finding(
                "one CPU only", "edgecost and the runner share it", "give the process a second CPU for steadier numbers"
            )
        )
    return tuple(found)


def memory_limit_bytes(facts: HostFacts) -> int | None:
    """What a runner may take: nine tenths of the memory, so that a greedy graph fails alone. None when unknown."""
    return None if facts.memory_bytes is None else facts.memory_bytes * 9 // 10


def facts_document(facts: HostFacts) -> Mapping[str, Json]:
    """The facts as JSON."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(facts).items()}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None


def _read_all(root: Path, pattern: str) -> list[str]:
    values = (_read(path) for path in sorted(root.glob(pattern)))
    return [value for value in values if value]


def _pairs(cpuinfo: str) -> list[tuple[str, str]]:
    """Keys and values of /proc/cpuinfo; the first CPU's value wins, since dict() is fed in reverse."""
    lines = [line.partition(":") for line in cpuinfo.splitlines() if ":" in line]
    return [(key.strip(), value.strip()) for key, _, value in reversed(lines)]


def _machine_id(root: Path) -> str:
    """The board's serial number, else the installation's id: boards from one card image share the latter."""
    serial = _read(root / "proc/device-tree/serial-number")
    if serial and serial.strip("0"):
        return serial
    for place in ("etc/machine-id", "var/lib/dbus/machine-id"):
        found = _read(root / place)
        if found and found != "uninitialized":
            return found
    return socket.gethostname()


def _core_cache(root: Path) -> int | None:
    """Of the first CPU, "1024K" as the kernel writes it."""
    for folder in sorted(root.glob("sys/devices/system/cpu/cpu0/cache/index[0-9]*")):
        size = _read(folder / "size") or ""
        if _read(folder / "level") == "2" and _read(folder / "type") != "Instruction" and size[:-1].isdecimal():
            return int(size[:-1]) * _CACHE_UNITS.get(size[-1], 1)
    return None


def _memory(root: Path) -> int | None:
    for key, value in _pairs(_read(root / "proc/meminfo") or ""):
        if key == "MemTotal":
            return int(value.split()[0]) * 1024
    return None


def _hypervisor(root: Path, flags: str) -> str | None:
    named = _read(root / "sys/class/dmi/id/sys_vendor")
    if "hypervisor" in flags.split():
        return named or "unnamed"
    return None


def _turbo(root: Path) -> bool | None:
    no_turbo = _read(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    boost = _read(root / "sys/devices/system/cpu/cpufreq/boost")
    return None if boost is None else boost == "1"


def _temperatures(root: Path) -> tuple[float, ...]:
    values = (_read(path) or "" for path in thermal_zones(root).values())
    return tuple(int(value) / 1000 for value in values if value.lstrip("-").isdigit())


def _cpu_seconds(root: Path) -> tuple[float | None, float | None]:
    """Busy and stolen seconds of all CPUs since boot (proc(5): user nice system idle iowait irq softirq steal)."""
    first = (_read(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None, None
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in first[1:9])
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks_per_s, steal / ticks_per_s


def _load(root: Path) -> float | None:
    text = _read(root / "proc/loadavg")
    if text:
        return float(text.split()[0])
    return os.getloadavg()[0] if hasattr(os, "getloadavg") and root == Path("/") else None
