"""Simulators behind the device door: built-in ones and those of the ``edgecost.devices`` entry points.

A simulator says what a graph costs on a device that nobody has to own. It is an object with three members
(``role.SimulatedDevice``); an entry point names a class or function that makes it from its options, a mapping of texts.
Prove a new one by subclassing ``contract.SimulatedDeviceContract`` in pytest.

Nothing here adds noise, drift or faults: a simulator is a law, and what plays a machine around a law is given one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from ...profiler.errors import EdgecostError, UsageError
from .role import MARK, PLUGIN_ERRORS, SimulatedCost, SimulatedDevice, checked_cost, describe
from .roofline import roofline
from .systolic import systolic_array

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "GROUP",
    "SimulatedCost",
    "SimulatedDevice",
    "SimulatorName",
    "checked_cost",
    "describe",
    "open_simulator",
    "parse_simulator",
    "simulator_names",
]

GROUP = "edgecost.devices"
#: What makes a simulator from its options.
Factory = Callable[[Mapping[str, str]], SimulatedDevice]

_BUILT_IN: dict[str, Factory] = {"core": roofline, "systolic": systolic_array}


@dataclass(frozen=True)
class SimulatorName:
    """A simulator and its options, as people write them."""

    name: str
    options: Mapping[str, str]


def simulator_names() -> list[str]:
    """Names of all simulators. No plugin is imported for it."""
    return sorted({*_BUILT_IN, *_plugins()})


def parse_simulator(text: str) -> SimulatorName:
    """``systolic``, ``systolic:rows=32,columns=32``, or the path of a TOML file that says the same.

    The file has ``simulator = "systolic"`` and a table ``[options]``.

    Raises:
        UsageError: an option is not written like one, twice there, or the file is not like that.
    """
    if text.endswith(".toml"):
        return _read_design(Path(text))
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not key or not equals or not value:
            raise UsageError(f"{part!r} is no option of a simulator", remedy=f"write it like {name}:rows=32,columns=32")
        if key in options:
            raise UsageError(f"the option {key} of {name} is given twice")
        options[key] = value
    return SimulatorName(name, options)


def open_simulator(text: str) -> SimulatedDevice:
    """The simulator that a text names, as ``parse_simulator`` reads it; a built-in one wins over a plugin.

    Raises:
        UsageError: there is none of this name, it refuses the options, or the plugin is broken.
    """
    wanted = parse_simulator(text)
    if wanted.name in _BUILT_IN:
        return _BUILT_IN[wanted.name](wanted.options)
    plugin = _plugins().get(wanted.name)
    if plugin is None:
        near = get_close_matches(wanted.name, simulator_names(), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        known = ", ".join(simulator_names())
        raise UsageError(f"there is no simulator {wanted.name!r}", remedy=f"{hint}Simulators: {known}.")
    return _from_plugin(plugin, wanted.options)


def _from_plugin(plugin: EntryPoint, options: Mapping[str, str]) -> SimulatedDevice:
    origin = f"the simulator {plugin.name!r} of {_distribution(plugin)} ({plugin.value})"
    try:
        made: object = plugin.load()(options)
    except EdgecostError:
        raise
    except PLUGIN_ERRORS as error:
        raise UsageError(
            f"{origin} cannot be used: {type(error).__name__}: {error}", remedy="tell its author"
        ) from error
    if not isinstance(made, SimulatedDevice):
        raise UsageError(f"{origin} has not the members version, device and cost")
    if not made.device().description.startswith(MARK):
        raise UsageError(
            f"{origin} describes a device that is not marked as simulated", remedy=f"begin it with {MARK!r}: describe()"
        )
    return made


def _read_design(path: Path) -> SimulatorName:
    try:
        document = cast("dict[str, object]", tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    name, options = document.get("simulator"), document.get("options", {})
    strange = sorted(set(document) - {"simulator", "options"})
    if not isinstance(name, str) or not isinstance(options, dict) or strange:
        found = f"it has {', '.join(strange)}" if strange else "one of them is missing or of another kind"
        raise UsageError(
            f"{path} does not describe a simulator: {found}",
            remedy='write simulator = "systolic" and a table [options]',
        )
    return SimulatorName(name, {str(key): str(value) for key, value in options.items()})


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _distribution(plugin: EntryPoint) -> str:
    return "an unnamed package" if plugin.dist is None else f"{plugin.dist.name} {plugin.dist.version}"
