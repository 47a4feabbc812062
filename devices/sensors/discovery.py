"""Every power sensor of this device, and what is missing; nothing is guessed from an index or from a part of a name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from ...profiler.energy.meter import Meter
from ...profiler.errors import EdgecostError, MeterError, NoMeter, UsageError
from ..commands import Commands, HostCommands
from ..nvml import nvml_library
from . import ina2xx, ina3221, nvml, pmic, rapl
from .external import ProgramMeter
from .sampler import SensorMeter
from .source import FoundSensor, Problem

#: Entry points that name a function which makes a ``Meter``: ``make(options) -> Meter``.
GROUP = "edgecost.power_meters"
#: How a program that prints readings is named.
PROGRAM = "exec:"


@dataclass(frozen=True)
class FoundSensors:
    """What a device has. The whole ones come first, in the order in which they are preferred."""

    sensors: tuple[FoundSensor, ...]
    problems: tuple[Problem, ...]

    @property
    def whole(self) -> tuple[FoundSensor, ...]:
        """Those that say what the device takes as a whole."""
        return tuple(sensor for sensor in self.sensors if sensor.is_whole)


def find_sensors(root: Path = Path("/"), commands: Commands | None = None) -> FoundSensors:
    """Look for every sensor that is known; ``root`` is another tree for recorded machines, without its GPU."""
    is_here = root == Path("/")
    asked = commands or HostCommands()
    # A module's own rails before a chip that somebody added, a board before a part of it.
    each = [
        ina3221.find(root), pmic.find(asked), ina2xx.find(root), rapl.find(root),
        nvml.find(cast("nvml.Nvml | None", nvml_library()) if is_here else None),
    ]  # fmt: skip
    sensors = [sensor for found, _ in each for sensor in found]
    sensors.sort(key=lambda sensor: not sensor.is_whole)
    return FoundSensors(tuple(sensors), tuple(problem for _, problems in each for problem in problems))


def meter_names(found: FoundSensors) -> list[str]:
    """Names that ``open_meter`` knows here; no plugin is imported for it."""
    return [
        *(sensor.facts.name for sensor in found.sensors),
        *sorted(point.name for point in entry_points(group=GROUP)),
    ]


def open_meter(name: str | None = None, *, root: Path = Path("/"), commands: Commands | None = None) -> Meter:
    """A power meter, ready to record.

    Args:
        name: of a sensor as ``find_sensors`` names it, of an entry point (``NAME`` or ``NAME:options``), or
            ``exec:PROGRAM ARGUMENTS``. None for what the device takes as a whole.

    Raises:
        NoMeter: there is nothing to measure the whole with.
        MeterError: there is, and it may not be read or gives nothing.
        UsageError: there is no meter of this name.
    """
    if name is not None and name.startswith(PROGRAM):
        return ProgramMeter(name.removeprefix(PROGRAM))
    if name is not None and (plugin := _plugin(name)) is not None:
        return plugin
    found = find_sensors(root, commands)
    if name is None:
        return _whole(found)
    for sensor in found.sensors:
        if sensor.facts.name == name:
            return SensorMeter(sensor)
    known = ", ".join(meter_names(found)) or "none"
    raise UsageError(f"there is no power meter {name!r}", remedy=f"meters here: {known}; or exec:PROGRAM")


def _whole(found: FoundSensors) -> Meter:
    if found.whole:
        return SensorMeter(found.whole[0])
    refused = [problem for problem in found.problems if problem.permission]
    if refused:
        raise MeterError(refused[0].what, remedy=refused[0].remedy)
    told = "; ".join(problem.what for problem in found.problems)
    raise NoMeter(
        f"this device has no power sensor for the whole of it{f' ({told})' if told else ''}",
        remedy="attach a meter: docs/how-to/add-a-power-meter.md",
    )


def _plugin(text: str) -> Meter | None:
    name, _, options = text.partition(":")
    point = next((one for one in entry_points(group=GROUP) if one.name == name), None)
    if point is None:
        return None
    origin = f"the power meter {name!r} ({point.value})"
    try:
        made: object = point.load()(options)
    except EdgecostError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError, LookupError, OSError, RuntimeError) as error:
        raise MeterError(f"{origin} cannot be used: {error}", remedy="tell its author") from error
    if not isinstance(made, Meter):
        raise MeterError(f"{origin} has not the members facts and recording", remedy="tell its author")
    return made
