"""Records this board: an allow-list of files and programs, without what would tell one board from another of its kind.

Serial numbers, ids of machines and GPUs, MAC addresses and the host's name are taken out before anything is written.
"""

from __future__ import annotations

import errno
import os
import platform
import posixpath
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from ..commands import Answer, Commands, HostCommands
from .recording import BoardRecording

#: Files that are looked at. Nothing with a serial number by purpose: no serial-number, no machine-id, no product_uuid.
_FILES = (
    "proc/cpuinfo", "proc/meminfo", "etc/nv_tegra_release", "etc/nvpmodel.conf", "var/lib/nvpmodel/status",
    *(f"proc/device-tree/{name}" for name in ("model", "compatible", "nvidia,dtsfilename", "nvidia,boardids")),
    "proc/device-tree/system/linux,revision",
    *(f"sys/class/dmi/id/{name}" for name in ("sys_vendor", "product_name", "board_vendor", "board_name")),
    *(f"sys/devices/system/cpu/{name}" for name in ("online", "offline", "possible", "present", "cpu[0-9]*/online")),
    "sys/devices/system/cpu/cpufreq/boost", "sys/devices/system/cpu/intel_pstate/no_turbo",
    "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count",
    "sys/devices/system/cpu/cpufreq/policy[0-9]*/*",
    "sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*/name",
    "sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*/disable",
    "sys/class/thermal/thermal_zone[0-9]*/type", "sys/class/thermal/thermal_zone[0-9]*/temp",
    "sys/class/thermal/cooling_device[0-9]*/type", "sys/class/thermal/cooling_device[0-9]*/*_state",
    *(f"sys/class/hwmon/hwmon[0-9]*/{name}" for name in (
        "name", "update_interval", "samples", "shunt*_resistor", "in*_label", "in*_input", "in*_enable", "in*_alarm",
        "curr*_input", "curr*_crit", "power*_input", "temp*_input", "temp*_label", "oc*_event_cnt", "oc*_throt_en",
    )),
    *(f"sys/bus/i2c/drivers/ina3221x/*/iio:device[0-9]*/{name}" for name in (
        "name", "rail_name_*", "in_power[0-9]_input", "in_current[0-9]_input", "in_voltage[0-9]_input", "ui_input_*",
        "running_mode",
    )),
    *(f"sys/class/devfreq/*/{name}" for name in (
        "cur_freq", "min_freq", "max_freq", "governor", "available_frequencies", "device/of_node/name",
        "device/load", "device/railgate_enable",
    )),
    *(f"sys/class/powercap/intel-rapl*:*/{name}" for name in ("name", "energy_uj", "max_energy_range_uj")),
    "sys/devices/platform/soc/soc:firmware/get_throttled",
)  # fmt: skip
_COMMANDS = (
    ("getconf", "GNU_LIBC_VERSION"),
    ("nvpmodel", "-q"),
    ("dpkg-query", "--showformat=${Version}", "--show", "nvidia-l4t-core"),
    ("nvidia-smi", "-q", "-x"),
    *(("vcgencmd", *asked) for asked in (
        ("get_throttled",), ("measure_temp",), ("measure_clock", "arm"), ("measure_volts", "core"), ("pmic_read_adc",),
    )),
)  # fmt: skip
#: None of these files is longer; what is, is not what is looked for.
_LONGEST_BYTES = 1 << 18
_SERIAL = re.compile(r"^(\s*serial(?: number)?\s*:\s*)\S.*$", re.IGNORECASE | re.MULTILINE)
_XML_PRIVATE = re.compile(
    r"<(serial|uuid|board_id|gpu_uuid|minor_number|processes|platformInfo|platform_info)>.*?</\1>", re.DOTALL
)
_MAC = re.compile(r"\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b", re.IGNORECASE)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_MACHINE_ID = re.compile(r"\b[0-9a-f]{32}\b", re.IGNORECASE)


@dataclass
class _Tree:
    """What was found so far, by absolute path."""

    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


def record_board(
    name: str, root: Path = Path("/"), commands: Commands | None = None, host: str | None = None
) -> BoardRecording:
    """Everything of the allow-lists that there is; ``root`` and ``commands`` are those of a recorded board.

    Args:
        host: the name of the machine, which is taken out; None for this one's.
    """
    secret = socket.gethostname() if host is None else host
    tree, asked = _Tree(), commands or HostCommands()
    for pattern in _FILES:
        for path in sorted(root.glob(pattern)):
            _add(tree, root, path, secret)
    answers = {argv: answer for argv in _COMMANDS if (answer := asked.run(argv)) is not None}
    return BoardRecording(
        name=name,
        machine=platform.machine(),
        kernel_release=without_private(platform.release(), secret),
        files=tree.files,
        links=tree.links,
        unreadable=sorted(tree.unreadable),
        commands={
            argv: Answer(without_private(one.stdout, secret), without_private(one.stderr, secret), one.returncode)
            for argv, one in answers.items()
        },
    )


def without_private(text: str, host: str) -> str:
    """A text without what names one machine."""
    text = _XML_PRIVATE.sub("", _SERIAL.sub(r"\g<1>removed", text))
    text = _MACHINE_ID.sub("0" * 32, _UUID.sub("00000000-0000-0000-0000-000000000000", text))
    text = _MAC.sub("00:00:00:00:00:00", text)
    # A name that is also a word of the kernel's is left: taking "linux" out would change what the board is.
    return text if len(host) < 4 or host == "localhost" else re.sub(rf"\b{re.escape(host)}\b", "host", text)


def _add(tree: _Tree, root: Path, path: Path, host: str) -> None:
    """A file under its own path, and the links by which it was come to."""
    place = _resolved(tree, root, "/" + path.relative_to(root).as_posix())
    if place is None or place in tree.files or not (root / place[1:]).is_file():
        return
    try:
        with (root / place[1:]).open("rb") as opened:
            raw = opened.read(_LONGEST_BYTES)
    except OSError as error:
        # A channel that is off answers ENODATA: that is no file that may not be read, and it is left out.
        if error.errno in (errno.EACCES, errno.EPERM):
            tree.unreadable.add(place)
        return
    tree.files[place] = without_private(raw.decode(errors="surrogateescape"), host)


def _resolved(tree: _Tree, root: Path, path: str) -> str | None:
    """The path without links, each of which is kept; None for one that leads out of the tree."""
    done, todo = "/", path.strip("/").split("/")
    for _ in range(100):
        if not todo:
            return done
        here = posixpath.normpath(posixpath.join(done, todo.pop(0)))
        if not (root / here[1:]).is_symlink():
            done = here
            continue
        target = os.readlink(root / here[1:])
        if target.startswith("/"):
            target = posixpath.relpath(target, done)
        tree.links[here] = target
        todo = target.split("/") + todo
    return None
