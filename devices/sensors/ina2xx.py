"""INA219, 226, 260 and their kin that somebody soldered to a board, by the kernel's hwmon driver.

The driver believes a shunt of 10 mΩ unless it is told another: what it is told stands in the sensor's document, since
every number hangs on it. What such a sensor feeds only its owner knows.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...profiler.energy.meter import Counts, MeterFacts
from .source import FoundSensor, OpenFile, Problem, text_of

#: What the kernel's driver calls a step of power, in µV over the shunt: 20 steps of 10 µV, or 25 of 2.5 µV.
_STEPS_UV = {"ina219": 200.0, "ina220": 200.0, "ina226": 62.5, "ina230": 62.5, "ina231": 62.5}
#: The INA260 has its shunt inside, and steps of 10 mW.
_INA260_STEP_MW = 10.0
_CHIPS = frozenset({*_STEPS_UV, "ina260", "ina2xx"})
#: INA226: mean of 2 × 1.1 ms, unless the driver tells otherwise.
_DEFAULT_UPDATE_MS = 2.2
#: Oftener than this the reading itself is the load.
_PERIOD_MIN_S = 0.01


def find(root: Path) -> tuple[list[FoundSensor], list[Problem]]:
    """Each such chip as a sensor of its own; the only one of a board counts as its whole."""
    found: list[FoundSensor] = []
    problems: list[Problem] = []
    folders = [one for one in sorted(root.glob("sys/class/hwmon/hwmon*")) if text_of(one / "name") in _CHIPS]
    for folder in folders:
        place, chip = folder.resolve().parent.parent.name, text_of(folder / "name") or ""
        facts = _facts(folder, f"{chip} {place}", chip)
        opener = partial(_Microwatts, folder / "power1_input")
        try:
            opener().close()
        except PermissionError as error:
            problems.append(Problem(f"{facts.name} may not be read: {error.strerror}", "run as a user that may", True))
        except OSError as error:
            problems.append(Problem(f"{facts.name} cannot be read: {error.strerror}"))
        else:
            found.append(FoundSensor(facts, opener, is_whole=len(folders) == 1))
    return found, problems


def _facts(folder: Path, name: str, chip: str) -> MeterFacts:
    update = text_of(folder / "update_interval")
    update_s = (float(update) if update and update.isdecimal() and update != "0" else _DEFAULT_UPDATE_MS) / 1e3
    shunt = text_of(folder / "shunt_resistor")
    told = f"shunt of {shunt} µΩ" if shunt else "shunt unknown"
    return MeterFacts(
        name, chip, "", "external", Counts.POWER, _step_mw(chip, shunt), max(update_s, _PERIOD_MIN_S),
        averages_s=update_s,
        note=f"{told}; what it feeds is for its owner to say",
    )  # fmt: skip


def _step_mw(chip: str, shunt_uohm: str | None) -> float | None:
    """A step of the power that the driver tells; it hangs on the shunt that the driver was told."""
    if chip == "ina260":
        return _INA260_STEP_MW
    if chip not in _STEPS_UV or shunt_uohm is None or not shunt_uohm.isdecimal() or int(shunt_uohm) == 0:
        return None
    return _STEPS_UV[chip] / int(shunt_uohm) * 1e3


class _Microwatts:
    def __init__(self, path: Path) -> None:
        self._file = OpenFile(path)

    def read(self) -> float:
        return self._file.number() / 1e3

    def close(self) -> None:
        self._file.close()
