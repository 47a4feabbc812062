"""Where a board tells of throttling, clocks, heat and supply: files and programs, found by name, never by index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..boards.thermal import thermal_zones
from ..commands import Commands
from .nvidia import Gpus

#: Cooling devices that slow nothing down that is measured, by a part of their type.
_HARMLESS_COOLERS = ("fan", "lcd", "backlight", "wifi", "charger", "tcc offset")
#: What GPUs of Jetsons are called in the device tree, or in devfreq where that does not tell.
_GPU_NAMES = ("gpu", "gv11b", "gp10b", "ga10b", "gb10b")
#: Rails of boards that are fed with 5 V; what others call VDD_IN may be 5 V or 19 V.
_FIVE_VOLT_RAILS = ("POM_5V_IN",)
#: What a Raspberry Pi's firmware is asked.
GET_THROTTLED = ("vcgencmd", "get_throttled")
MEASURE_CLOCK = ("vcgencmd", "measure_clock", "arm")
PMIC = ("vcgencmd", "pmic_read_adc")
#: Where Jetson Linux 32 tells of over-current and of too low a supply, and nowhere else.
KERNEL_LOG = ("dmesg",)
_TIME = re.compile(r"(<\d+>)?\[\s*\d+\.\d+\]")
#: The clock that the firmware of a Raspberry Pi gives, whatever the kernel asked for.
FIRMWARE_CLOCK = "arm by the firmware"


@dataclass(frozen=True)
class Clock:
    """A clock that may be limited or locked: a folder of cpufreq, or one of devfreq."""

    path: Path
    now: str
    low: str
    high: str
    governor: str


@dataclass(frozen=True)
class Sources:
    """What a board has. Names are for people, and the same from look to look.

    Attributes:
        counters: events of throttling since the start; they only grow.
        alarms: files that say 1 for too low a supply.
        asks_bits: whether the firmware answers ``vcgencmd get_throttled``.
        asks_supply: whether it says the supply's volts, which takes it 23 ms.
        asks_clock: whether it says the clock that it gives, which the kernel's wish may be above.
        asks_log: whether the kernel's log is all that tells of electrical throttling, and may be read.
        gpus: of NVIDIA, by NVML; None without.
        cpu_clocks: which clocks are of CPUs, with these CPUs.
        kind: ``jetson``, ``raspberry-pi``, or empty for another board and ``x86`` for what has no device tree.
    """

    root: Path
    counters: Mapping[str, Path] = field(default_factory=dict)
    coolers: Mapping[str, Path] = field(default_factory=dict)
    alarms: Mapping[str, Path] = field(default_factory=dict)
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    cpu_clocks: Mapping[str, frozenset[int]] = field(default_factory=dict)
    temperatures: Mapping[str, Path] = field(default_factory=dict)
    supplies_mv: Mapping[str, Path] = field(default_factory=dict)
    asks_bits: bool = False
    asks_supply: bool = False
    asks_clock: bool = False
    asks_log: bool = False
    gpus: Gpus | None = None
    is_board: bool = False
    kind: str = ""

    @property
    def can_tell(self) -> bool:
        """Whether anything here says that the machine was slowed down."""
        return bool(
            self.counters or self.coolers or self.alarms or self.clocks or self.supplies_mv
            or self.asks_bits or self.asks_supply or self.asks_log or self.gpus
        )  # fmt: skip


def text_of(path: Path) -> str | None:
    """A short text; None where it cannot be read, or there is nothing in it."""
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """A whole number and nothing else; None where there is none."""
    text = text_of(path) or ""
    return int(text) if text.removeprefix("-").isdecimal() else None


def find_sources(root: Path, commands: Commands, gpus: Gpus | None = None) -> Sources:
    """Look for all of them once; ``root`` is another tree for recorded boards.

    A file that never could be read tells nothing from the beginning, and is left out: its silence later is no fault.
    """
    model = text_of(root / "proc/device-tree/model") or ""
    is_pi = model.startswith("Raspberry Pi")
    is_tegra = "nvidia,tegra" in (text_of(root / "proc/device-tree/compatible") or "")
    cpu_clocks, cpus = _cpu_clocks(root)
    counters = _readable({**_overcurrent(root), **_x86_counters(root)})
    asks_clock = is_pi and _says(commands, MEASURE_CLOCK, "frequency(")
    every_cpu = frozenset(cpu for some in cpus.values() for cpu in some)
    return Sources(
        root,
        counters=counters,
        coolers=_readable(_coolers(root)),
        alarms=_readable(_alarms(root)),
        clocks={**cpu_clocks, **_gpu_clocks(root)},
        cpu_clocks={**cpus, FIRMWARE_CLOCK: every_cpu} if asks_clock else cpus,
        temperatures=thermal_zones(root),
        supplies_mv=_supplies(root),
        asks_bits=is_pi and commands.run(GET_THROTTLED) is not None,
        asks_supply=is_pi and "EXT5V_V" in (answer.stdout if (answer := commands.run(PMIC)) else ""),
        asks_clock=asks_clock,
        asks_log=is_tegra and not counters and _has_log(commands),
        gpus=gpus,
        is_board=bool(model),
        kind="raspberry-pi" if is_pi else "jetson" if is_tegra else "" if model else "x86",
    )


def _readable(found: Mapping[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in found.items() if number_of(path) is not None}


def _says(commands: Commands, argv: tuple[str, ...], word: str) -> bool:
    answer = commands.run(argv)
    return answer is not None and answer.returncode == 0 and word in answer.stdout


def has_time(line: str) -> bool:
    """Whether a line of the kernel's log says when it was written."""
    return _TIME.match(line) is not None


def _has_log(commands: Commands) -> bool:
    """Whether the kernel's log may be read and says when; one that was cleared may yet."""
    answer = commands.run(KERNEL_LOG)
    if answer is None or answer.returncode != 0:
        return False
    lines = answer.stdout.splitlines()
    return not lines or any(has_time(line) for line in lines)


def _chips(root: Path, name: str) -> list[Path]:
    return [folder for folder in sorted(root.glob("sys/class/hwmon/hwmon*")) if text_of(folder / "name") == name]


def _overcurrent(root: Path) -> dict[str, Path]:
    """Jetson since L4T 34: too low a voltage, too high a current on average, and at a moment."""
    return {path.name: path for chip in _chips(root, "soctherm_oc") for path in sorted(chip.glob("oc*_event_cnt"))}


def _x86_counters(root: Path) -> dict[str, Path]:
    found = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    return {f"{path.parent.parent.name} {path.name}": path for path in sorted(found)}


def _alarms(root: Path) -> dict[str, Path]:
    found = [chip / "in0_lcrit_alarm" for chip in _chips(root, "rpi_volt")]
    return {f"rpi_volt {path.name}": path for path in found}


def _coolers(root: Path) -> dict[str, Path]:
    found = {}
    for folder in sorted(root.glob("sys/class/thermal/cooling_device*")):
        kind = text_of(folder / "type") or "unnamed"
        if not any(part in kind.lower() for part in _HARMLESS_COOLERS):
            found[f"{kind} ({folder.name})"] = folder / "cur_state"
    return found


def _cpu_clocks(root: Path) -> tuple[dict[str, Clock], dict[str, frozenset[int]]]:
    clocks, cpus = {}, {}
    for folder in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy[0-9]*")):
        clocks[folder.name] = Clock(
            folder, "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "scaling_governor"
        )
        listed = text_of(folder / "affected_cpus") or folder.name.removeprefix("policy")
        cpus[folder.name] = frozenset(int(word) for word in listed.split() if word.isdecimal())
    return clocks, cpus


def _gpu_clocks(root: Path) -> dict[str, Clock]:
    found = {}
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        called = text_of(folder / "device/of_node/name") or folder.name.partition(".")[2] or folder.name
        if called in _GPU_NAMES or folder.name.startswith("gpu-gpc-"):
            found[f"GPU {folder.name}"] = Clock(folder, "cur_freq", "min_freq", "max_freq", "governor")
    return found


def _supplies(root: Path) -> dict[str, Path]:
    """Bus voltages of rails that carry 5 V, by NVIDIA's driver."""
    found = {}
    for path in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*")):
        rail = text_of(path)
        if rail in _FIVE_VOLT_RAILS:
            found[str(rail)] = path.parent / f"in_voltage{path.name.removeprefix('rail_name_')}_input"
    return found
