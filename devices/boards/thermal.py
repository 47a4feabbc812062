"""Which thermal zones tell the heat of what is measured: some are constant, some belong to a radio."""

from __future__ import annotations

from pathlib import Path

from .reading import text_of

#: Constant on Tegra, whatever the heat; and radios, which stop telling when they are switched off.
_NO_ZONES = ("PMIC-Die", "iwlwifi")


def thermal_zones(root: Path) -> dict[str, Path]:
    """Files with thousandths of a degree by the zone's name; several of one name are told apart by their folders."""
    found: dict[str, Path] = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        kind = text_of(folder / "type") or folder.name
        if not kind.startswith(_NO_ZONES):
            found[kind if kind not in found else f"{kind} ({folder.name})"] = folder / "temp"
    return found
