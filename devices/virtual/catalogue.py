"""Virtual devices by name: a law, the character of the machine around it, and the sensor that it has.

The numbers are plausible for boards of their name and were measured on none. Any simulator can be the law of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ...profiler.errors import UsageError
from ...profiler.records import VIRTUAL, Device, Environment, RuntimeProfile
from ..simulators import open_simulator
from ..simulators.role import SimulatedDevice
from ..simulators.roofline import Roofline, RooflineDesign
from .machine import Character

#: How the description of a virtual device begins, so that nobody takes its numbers for a board's.
MARK = "virtual: "
#: Before the name of a simulator, it is the law of a machine with the first preset's character.
PREFIX = f"{VIRTUAL}:"
_SEEDED = "seed"


@dataclass(frozen=True)
class VirtualDevice:
    """A machine that is played around a law.

    Attributes:
        sensor: a kind of ``presets.SENSORS``.
        seed: of all that chance does to it; another seed is another copy of the board.
    """

    name: str
    law: SimulatedDevice
    character: Character
    sensor: str
    seed: int = 0

    def device(self) -> Device:
        """It says that it is virtual, and by which law."""
        law = self.law.device()
        written = f"virtual/{self.name}/{law.identity}/{self.law.version}/{self.character}/{self.seed}"
        return Device(
            name=self.name,
            identity=hashlib.sha256(written.encode()).hexdigest(),
            description=f"{MARK}{self.name}, by the law of a {law.description.partition(': ')[2]}",
        )

    def environment(self) -> Environment:
        """What does not change while it is measured."""
        law = self.law.device()
        return Environment(
            {VIRTUAL: self.name, "law": law.description, "law_version": self.law.version, "seed": self.seed}
        )


def _nano() -> VirtualDevice:
    # Four Cortex-A57 at 1.479 GHz, 8 operations a cycle; one thread sees a quarter of LPDDR4's 25.6 GB/s.
    design = RooflineDesign()
    return VirtualDevice("virtual-nano", Roofline(design), Character(design.idle_mw), "ina3221x")


def _pi4() -> VirtualDevice:
    # Cortex-A72 at 1.5 GHz with 1 MB of cache; a Pi 4 has no sensor, so there is one at its plug's USB cable.
    design = RooflineDesign(
        peak_gflops=12.0, cache_kb=1024.0, cache_gbps=16.0, dram_gbps=4.0, node_us=3.5,
        idle_mw=2700.0, busy_mw=600.0, flop_pj=75.0, byte_pj=140.0,
    )  # fmt: skip
    return VirtualDevice("virtual-pi4", Roofline(design), Character(design.idle_mw, jitter=0.013), "ina226")


_PRESETS = {"virtual-nano": _nano, "virtual-pi4": _pi4}


def virtual_names() -> list[str]:
    """Those that edgecost brings."""
    return sorted(_PRESETS)


def open_virtual(name: str, options: Mapping[str, str] | None = None) -> VirtualDevice:
    """``virtual-nano``, ``virtual-pi4``, or ``virtual:LAW`` with a simulator as ``open_simulator`` takes it.

    Raises:
        UsageError: there is none of this name; or as ``open_simulator``.
    """
    seed = int((options or {}).get(_SEEDED, "0"))
    if name.startswith(PREFIX):
        law = open_simulator(name[len(PREFIX) :])
        character = _nano().character
        return VirtualDevice(f"virtual-{law.device().name}", law, character, "ina3221x", seed)
    made = _PRESETS.get(name)
    if made is None:
        known = ", ".join(virtual_names())
        raise UsageError(f"there is no virtual device {name!r}", remedy=f"one of {known}, or {PREFIX}SIMULATOR")
    found = made()
    return VirtualDevice(found.name, found.law, found.character, found.sensor, seed)


def of_profile(profile: RuntimeProfile) -> VirtualDevice:
    """The device that a profile runs on; raises as ``open_virtual``."""
    return open_virtual(profile.provider, dict(profile.options))
