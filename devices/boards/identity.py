"""Which board this is: a Jetson, a Raspberry Pi, an x86 machine, or one that nobody knows yet, with what is missing.

It complements ``host``, which says what a machine is good for. Nothing is changed, and nothing unknown is made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..commands import Commands, HostCommands
from . import jetson, raspberry_pi
from .board import BoardIdentity, Missing
from .reading import text_of

_UNNAMED = frozenset({"", "unknown", "To Be Filled By O.E.M.", "Default string", "System Product Name"})


def identify(root: Path = Path("/"), commands: Commands | None = None) -> BoardIdentity:
    """Look at this machine; ``root`` is another tree and ``commands`` other programs for a recorded board."""
    asked = commands or HostCommands()
    model, compatible = text_of(root / "proc/device-tree/model"), _compatible(root)
    cpuinfo = _cpuinfo(root)
    if jetson.is_jetson(model, compatible):
        return _jetson(root, asked, model, compatible, cpuinfo)
    if (model or "").startswith("Raspberry Pi") or any(one.startswith("raspberrypi,") for one in compatible):
        return _raspberry_pi(root, asked, model or cpuinfo.get("Model"), cpuinfo)
    if "vendor_id" in cpuinfo:
        return _x86(root, asked, cpuinfo)
    return _unknown(root, asked, model, compatible, cpuinfo)


def _jetson(
    root: Path, commands: Commands, model: str | None, compatible: tuple[str, ...], cpuinfo: dict[str, str]
) -> BoardIdentity:
    l4t = jetson.l4t_release(root, commands)
    module, mode = jetson.module_of(root, compatible), jetson.power_mode(root, commands)
    named = jetson.jetpack(l4t)
    missing = _absent(
        ("release of L4T", "/etc/nv_tegra_release, or the package nvidia-l4t-core", l4t),
        ("JetPack of this L4T", "the table in devices/boards/jetson.py", named),
        ("module", "/proc/device-tree/nvidia,dtsfilename or compatible", module),
        ("power mode", "/var/lib/nvpmodel/status, or `nvpmodel -q` as root", mode),
    )
    return BoardIdentity(
        "jetson", model, _last(compatible, "nvidia,tegra"), module, _is_armv8_0(cpuinfo), _glibc(commands), l4t, named,
        mode, jetson.power_modes(root), _gpus(commands), missing,
    )  # fmt: skip


def _raspberry_pi(root: Path, commands: Commands, model: str | None, cpuinfo: dict[str, str]) -> BoardIdentity:
    code = raspberry_pi.revision_code(root, cpuinfo)
    revision = None if code is None else raspberry_pi.decode(code)
    missing = _absent(("revision", "Revision in /proc/cpuinfo, or /proc/device-tree/system/linux,revision", revision))
    return BoardIdentity(
        "raspberry-pi", model, None if revision is None else revision.soc,
        None if revision is None else revision.module(), _is_armv8_0(cpuinfo), _glibc(commands),
        missing=missing,
    )  # fmt: skip


def _x86(root: Path, commands: Commands, cpuinfo: dict[str, str]) -> BoardIdentity:
    vendor, product = (text_of(root / f"sys/class/dmi/id/{key}") or "" for key in ("sys_vendor", "product_name"))
    name = " ".join(word for word in (vendor, product) if word not in _UNNAMED) or None
    missing = _absent(("name of the machine", "/sys/class/dmi/id/product_name", name))
    return BoardIdentity(
        "x86", name, cpuinfo.get("model name"), armv8_0=False, glibc=_glibc(commands), gpus=_gpus(commands),
        missing=missing,
    )  # fmt: skip


def _unknown(
    root: Path, commands: Commands, model: str | None, compatible: tuple[str, ...], cpuinfo: dict[str, str]
) -> BoardIdentity:
    chip, glibc, armv8_0 = compatible[-1] if compatible else None, _glibc(commands), _is_armv8_0(cpuinfo)
    missing = _absent(
        ("name of the board", "/proc/device-tree/model", model),
        ("chip", "/proc/device-tree/compatible", chip),
        ("which instructions the processor has", "Features in /proc/cpuinfo", armv8_0),
        ("version of glibc", "getconf GNU_LIBC_VERSION", glibc),
    )
    return BoardIdentity(
        "unknown", model, chip, armv8_0=armv8_0, glibc=glibc, gpus=_gpus(commands),
        missing=missing,
    )  # fmt: skip


def _absent(*looked_for: tuple[str, str, object | None]) -> tuple[Missing, ...]:
    return tuple(Missing(what, where) for what, where, found in looked_for if found is None)


def _compatible(root: Path) -> tuple[str, ...]:
    """A list whose items end in NUL bytes."""
    return tuple(one for one in (text_of(root / "proc/device-tree/compatible") or "").split("\0") if one)


def _last(compatible: tuple[str, ...], prefix: str) -> str | None:
    found = [one for one in compatible if one.startswith(prefix)]
    return found[-1].partition(",")[2] if found else None


def _cpuinfo(root: Path) -> dict[str, str]:
    """Keys and values; of several processors those of the first."""
    lines = [line.partition(":") for line in (text_of(root / "proc/cpuinfo") or "").splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, _, value in reversed(lines)}


def _is_armv8_0(cpuinfo: dict[str, str]) -> bool | None:
    """64-bit Arm before the atomics of ARMv8.1: Cortex-A53, A57 and A72 among them."""
    features = cpuinfo.get("Features", "").split()
    return "atomics" not in features if "asimd" in features else None


def _glibc(commands: Commands) -> str | None:
    answer = commands.run(("getconf", "GNU_LIBC_VERSION"))
    found = None if answer is None else re.fullmatch(r"glibc (\d+\.\d+)", answer.stdout.strip())
    return None if found is None else found.group(1)


def _gpus(commands: Commands) -> tuple[str, ...]:
    answer = commands.run(("nvidia-smi", "-q", "-x"))
    return () if answer is None or answer.returncode != 0 else tuple(_product_names(answer.stdout))


def _product_names(xml: str) -> Iterator[str]:
    for found in re.finditer(r"<product_name>([^<]+)</product_name>", xml):
        yield found.group(1).strip()
