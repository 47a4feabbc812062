"""What on a board tells that its clock was taken down, by name; the guards are what reads it."""

from __future__ import annotations

from pathlib import Path

from ..commands import Commands
from .reading import text_of


def throttle_sources(root: Path, commands: Commands) -> tuple[str, ...]:
    """In words: what there is and can be read, the most telling first."""
    found = []
    answer = commands.run(("vcgencmd", "get_throttled"))
    if answer is not None and answer.returncode == 0 and answer.stdout.startswith("throttled="):
        found.append("vcgencmd get_throttled: under-voltage, capped clock, throttling, soft limit of temperature")
    chips = {text_of(one / "name"): one for one in sorted(root.glob("sys/class/hwmon/hwmon*"))}
    if "soctherm_oc" in chips:
        found.append("hwmon soctherm_oc: counters of under-voltage and over-current")
    if "rpi_volt" in chips:
        found.append("hwmon rpi_volt: alarm of under-voltage")
    if any(root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")):
        found.append("cpu*/thermal_throttle: counters of thermal throttling")
    coolers = _coolers(root)
    if coolers:
        found.append(f"cooling devices: {', '.join(coolers)}")
    smi = commands.run(("nvidia-smi", "-q", "-x"))
    if smi is not None and "<clocks_event_reasons>" in smi.stdout:
        found.append("nvidia-smi: reasons for a lower clock")
    return tuple(found)


def _coolers(root: Path) -> list[str]:
    """Those that slow something down: a fan does not."""
    types = {text_of(one / "type") or "" for one in root.glob("sys/class/thermal/cooling_device*")}
    return sorted(one for one in types if one and "fan" not in one.lower() and "shutdown" not in one)
