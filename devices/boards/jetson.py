"""NVIDIA Jetson: release of L4T, JetPack, module and power mode, from files that anyone may read first.

``BOARD:`` in /etc/nv_tegra_release names a family, not the board, and is not looked at. Nothing is asked over I²C.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..commands import Commands
from .board import PowerMode
from .reading import text_of

_RELEASE = re.compile(r"#\s*R(\d+)\s+\(release\),\s*REVISION:\s*([\d.]+)")
_PACKAGE = ("dpkg-query", "--showformat=${Version}", "--show", "nvidia-l4t-core")
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_MODULE = re.compile(r"\bp(\d{4})-(\d{4})\b")
#: Of a carrier that is listed before or beside the module it carries; p2972 is the kit of the AGX Xavier, which
#: names no module of its own.
_CARRIERS = frozenset({"2597", "3449", "3542", "3509", "3768", "3737", "4071"})
#: By NVIDIA's archive of Jetson Linux releases. A release that is not in it has no name here: none is made up.
_JETPACK = {
    "32.1.0": "4.2", "32.3.1": "4.3", "32.4.3": "4.4", "32.4.4": "4.4.1", "32.5.0": "4.5", "32.5.1": "4.5.1",
    "32.6.1": "4.6", "32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4", "32.7.5": "4.6.5",
    "32.7.6": "4.6.6", "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3",
    "35.6.0": "5.1.4", "35.6.4": "5.1.6", "36.2.0": "6.0 DP", "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2",
    "36.4.7": "6.2.1", "36.5.0": "6.2.2", "38.2.0": "7.0", "38.2.1": "7.0", "38.4.0": "7.1", "39.2.0": "7.2",
}  # fmt: skip


def is_jetson(model: str | None, compatible: tuple[str, ...]) -> bool:
    """By the chip: early releases call a Nano ``jetson-nano`` and a TX2 ``quill``."""
    return any(one.startswith("nvidia,tegra") for one in compatible) or "jetson" in (model or "").lower()


def l4t_release(root: Path, commands: Commands | None = None) -> str | None:
    """Such as ``32.7.1``; by the package where the file is not there."""
    found = _RELEASE.search(text_of(root / "etc/nv_tegra_release") or "")
    if found is not None:
        return _three_parts(f"{found.group(1)}.{found.group(2)}")
    answer = None if commands is None else commands.run(_PACKAGE)
    if answer is None or answer.returncode != 0:
        return None
    version = answer.stdout.strip().partition("-")[0]
    return _three_parts(version) if re.fullmatch(r"\d+(\.\d+)+", version) else None


def _three_parts(version: str) -> str:
    return version if version.count(".") > 1 else f"{version}.0"


def jetpack(l4t: str | None) -> str | None:
    """The JetPack that came with a release of L4T."""
    return None if l4t is None else _JETPACK.get(l4t)


def module_of(root: Path, compatible: tuple[str, ...]) -> str | None:
    """Such as ``p3448-0000``, of the device tree's file name, else of what the tree is compatible with."""
    for text in (text_of(root / "proc/device-tree/nvidia,dtsfilename") or "", *compatible):
        for number, sku in _MODULE.findall(text.replace("tegra210-", "").rpartition("/")[2]):
            if number not in _CARRIERS:
                return f"p{number}-{sku}"
    return None


def power_modes(root: Path) -> tuple[PowerMode, ...]:
    """All modes of /etc/nvpmodel.conf."""
    found = _MODE.findall(text_of(root / "etc/nvpmodel.conf") or "")
    return tuple(PowerMode(int(number), name) for number, name in found)


def power_mode(root: Path, commands: Commands | None = None) -> PowerMode | None:
    """The mode that is set: what anyone may read first, then ``nvpmodel -q``, which some releases keep to root."""
    status = re.fullmatch(r"pmode:(\d+)", text_of(root / "var/lib/nvpmodel/status") or "")
    if status is not None:
        number = int(status.group(1))
        return next((mode for mode in power_modes(root) if mode.number == number), None)
    answer = None if commands is None else commands.run(("nvpmodel", "-q"))
    told = re.search(r"^NV Power Mode:\s*(\S+)\s*\n(\d+)\s*$", "" if answer is None else answer.stdout, re.MULTILINE)
    return None if told is None else PowerMode(int(told.group(2)), told.group(1))
