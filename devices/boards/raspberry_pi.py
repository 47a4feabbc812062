"""Raspberry Pi: what its revision code says; ``Hardware`` in /proc/cpuinfo is BCM2835 on all of them and says nothing.

The bits are those of the Raspberry Pi documentation, "Raspberry Pi revision codes".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_NEW_STYLE = 1 << 23
_SOCS = {0: "BCM2835", 1: "BCM2836", 2: "BCM2837", 3: "BCM2711", 4: "BCM2712"}
_MEMORY_MIB = {0: 256, 1: 512, 2: 1024, 3: 2048, 4: 4096, 5: 8192, 6: 16384}
_TYPES = {
    0x00: "A", 0x01: "B", 0x02: "A+", 0x03: "B+", 0x04: "2B", 0x06: "CM1", 0x08: "3B", 0x09: "Zero", 0x0A: "CM3",
    0x0C: "Zero W", 0x0D: "3B+", 0x0E: "3A+", 0x10: "CM3+", 0x11: "4B", 0x12: "Zero 2 W", 0x13: "400", 0x14: "CM4",
    0x15: "CM4S", 0x17: "5", 0x18: "CM5", 0x19: "500", 0x1A: "CM5 Lite",
}  # fmt: skip
#: Codes from before there were bits: type, memory in MiB, revision. 0x15 was sold with 256 and with 512.
_OLD_STYLE: dict[int, tuple[str, int | None, str]] = {
    **dict.fromkeys((0x02, 0x03), ("B", 256, "1.0")),
    **dict.fromkeys((0x04, 0x05, 0x06), ("B", 256, "2.0")),
    **dict.fromkeys((0x07, 0x08, 0x09), ("A", 256, "2.0")),
    **dict.fromkeys((0x0D, 0x0E, 0x0F), ("B", 512, "2.0")),
    **dict.fromkeys((0x10, 0x13), ("B+", 512, "1.2")),
    **dict.fromkeys((0x11, 0x14), ("CM1", 512, "1.0")),
    0x12: ("A+", 256, "1.1"),
    0x15: ("A+", None, "1.1"),
}


@dataclass(frozen=True)
class Revision:
    """What a code says; None for what it says in bits that are not known here."""

    soc: str | None
    type: str | None
    memory_mib: int | None
    revision: str
    warranty_void: bool

    def module(self) -> str | None:
        """Such as ``4B 4 GiB Rev 1.4``."""
        if self.type is None:
            return None
        memory = ""
        if self.memory_mib is not None:
            memory = f" {self.memory_mib // 1024} GiB" if self.memory_mib >= 1024 else f" {self.memory_mib} MiB"
        return f"{self.type}{memory} Rev {self.revision}"


def decode(code: int) -> Revision | None:
    """A revision code; None for one of the old style that was never given out."""
    if code & _NEW_STYLE:
        return Revision(
            soc=_SOCS.get(code >> 12 & 0xF),
            type=_TYPES.get(code >> 4 & 0xFF),
            memory_mib=_MEMORY_MIB.get(code >> 20 & 0x7),
            revision=f"1.{code & 0xF}",
            warranty_void=bool(code >> 25 & 1),
        )
    old = _OLD_STYLE.get(code & 0xFFFF)
    if old is None:
        return None
    # Of the old style the bit of the warranty is the 24th.
    return Revision("BCM2835", *old, warranty_void=bool(code >> 24 & 1))


def revision_code(root: Path, cpuinfo: dict[str, str]) -> int | None:
    """Of /proc/cpuinfo, else of the device tree, where it is four bytes."""
    try:
        return int(cpuinfo.get("Revision", ""), 16)
    except ValueError:
        pass
    try:
        raw = (root / "proc/device-tree/system/linux,revision").read_bytes()
    except OSError:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 4 else None
