"""Which rails of which boards make up the whole: by the set of their names, and by nothing that only looks like it.

The sets are those of NVIDIA's modules as energymon and Alumet list them. A set that nobody wrote down has rails and no
total: a sum of rails of which one feeds another counts that twice, and a name like ``VDD_CPU_GPU_CV`` says what is
behind it, not what else is not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class RailSet:
    """The rails of a module.

    Attributes:
        whole: those whose sum is what the module takes.
        scope: what that includes.
        parts: scope of every rail, by name.
        parents: of a rail, the one that includes it.
    """

    board: str
    whole: tuple[str, ...]
    parts: dict[str, str]
    parents: dict[str, str]
    scope: str = "module"


def _fed_by(whole: str, **parts: str) -> tuple[tuple[str, ...], dict[str, str], dict[str, str]]:
    """One rail feeds all others."""
    return (whole,), {whole: "module", **parts}, dict.fromkeys(parts, whole)


_SETS = (
    RailSet("Jetson Nano", *_fed_by("POM_5V_IN", POM_5V_GPU="gpu", POM_5V_CPU="cpu")),
    RailSet("Jetson TX1", *_fed_by("VDD_IN", VDD_GPU="gpu", VDD_CPU="cpu")),
    RailSet(
        "Jetson TX2",
        *_fed_by(
            "VDD_IN", VDD_SYS_GPU="gpu", VDD_SYS_SOC="soc", VDD_4V0_WIFI="wifi", VDD_SYS_CPU="cpu", VDD_SYS_DDR="memory"
        ),
    ),
    RailSet("Jetson TX2 NX", *_fed_by("VDD_IN", VDD_CPU_GPU="cpu_gpu", VDD_SOC="soc")),
    RailSet("Jetson Xavier NX, Orin NX, Orin Nano", *_fed_by("VDD_IN", VDD_CPU_GPU_CV="cpu_gpu_cv", VDD_SOC="soc")),
    RailSet(
        "Jetson AGX Xavier",
        ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        {"GPU": "gpu", "CPU": "cpu", "SOC": "soc", "CV": "cv", "VDDRQ": "memory", "SYS5V": "io"},
        {},
    ),
    RailSet(
        "Jetson AGX Orin",
        ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        {"VDD_GPU_SOC": "gpu_soc", "VDD_CPU_CV": "cpu_cv", "VIN_SYS_5V0": "io", "VDDQ_VDD2_1V8AO": "memory"},
        {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"},
    ),
)
#: Channels that are wired to nothing.
UNCONNECTED = frozenset({"NC"})


def rail_set(names: Collection[str]) -> RailSet | None:
    """The module whose rails these are, all of them and no other; None for a set that is not known.

    NVIDIA's documents call the rails of the Nano ``VDD_*``, which is the TX1's set: the whole is the same rail.
    """
    wanted = set(names) - UNCONNECTED
    return next((one for one in _SETS if set(one.parts) == wanted), None)
