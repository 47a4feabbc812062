"""What is known of a board, as data; who finds it out are ``jetson``, ``raspberry_pi`` and ``identity``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ...profiler.records import Json


@dataclass(frozen=True)
class PowerMode:
    """One of the modes that ``nvpmodel`` knows."""

    number: int
    name: str


@dataclass(frozen=True)
class Missing:
    """A fact that was looked for in vain: what, and where or how it would be known."""

    what: str
    where: str


@dataclass(frozen=True)
class BoardIdentity:
    """A board as it says itself. None is "not known", and ``missing`` says what was looked for.

    Attributes:
        kind: ``jetson``, ``raspberry-pi``, ``x86`` or ``unknown``.
        soc: the chip: ``tegra210``, ``BCM2712``; the processor's name on x86.
        module: which of several boards of that name: SKU, or type, memory and revision.
        armv8_0: an Arm processor without the atomics of ARMv8.1; None where the kernel does not list features.
    """

    kind: str
    name: str | None
    soc: str | None = None
    module: str | None = None
    armv8_0: bool | None = None
    glibc: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    power_mode: PowerMode | None = None
    power_modes: tuple[PowerMode, ...] = ()
    gpus: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Json) -> Json:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
