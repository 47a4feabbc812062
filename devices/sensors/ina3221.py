"""INA3221 on Jetson modules, by NVIDIA's driver (L4T up to 32, in iio) and by the kernel's own (from L4T 34, in hwmon).

Found by driver and rail name, never by bus number or index. What both are: shunt in steps of 40 µV, bus in steps of
8 mV. The bounds of gain and offset are those of Texas Instruments' data sheet as remembered, ±0.25 % and ±80 µV, and
nobody here has checked them on a board.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...profiler.energy.meter import Counts, MeterFacts
from .rails import UNCONNECTED, RailSet, rail_set
from .source import FoundSensor, OpenFile, Problem, Source, opened_together, text_of

_SHUNT_STEP_UV, _OFFSET_UV, _GAIN_ERROR = 40.0, 80.0, 0.0025
#: Of the Nano: values on real boards are multiples of about 40 mW, which at 5 V makes 8 mA, so 5 mΩ.
_NANO_SHUNT_UOHM = 5000.0
#: Volts of what feeds the rail: 5 V on a Nano, where the step of the current is one of power.
_NANO_V = 5.0
#: What feeds rails, in V. A step of power is told at one of these: a sensor must not be another one because its supply
#: stands at 4.976 V today.
_SUPPLIES_V = (1.8, 3.3, 5.0, 9.0, 12.0, 15.0, 19.0)
#: NVIDIA's driver converts when it is read, three channels one after the other; 50 Hz leaves the board alone.
_IIO_PERIOD_S = 0.02
#: One averaged reading of three channels, in ms, where the kernel's driver does not tell.
_DEFAULT_UPDATE_MS = 6.6
_NOTE = "gain and offset are the data sheet's, not checked on a board"


@dataclass(frozen=True)
class _Rail:
    """A channel that was read once."""

    name: str
    chip: str
    opener: Callable[[], Source]
    facts: MeterFacts


def find(root: Path) -> tuple[list[FoundSensor], list[Problem]]:
    """All rails of both drivers, and the whole of a module whose rails are known."""
    problems: list[Problem] = []
    rails = [*_of_nvidia(root, problems), *_of_kernel(root, problems)]
    if not rails:
        return [], problems
    known = rail_set([rail.name for rail in rails])
    if known is None:
        names = ", ".join(sorted(rail.name for rail in rails))
        problems.append(
            Problem(
                f"the rails {names} are of no board that is known, so there is no total",
                "tell us what they feed: an issue with the output of `edgecost record-board`",
            )
        )
        return [FoundSensor(rail.facts, rail.opener) for rail in rails], problems
    return [_whole(rails, known), *_parts(rails, known)], problems


def _whole(rails: list[_Rail], known: RailSet) -> FoundSensor:
    """The rails that make up the module, as one sensor."""
    own = {rail.name: rail for rail in rails}
    chosen = [own[name] for name in known.whole]
    first = chosen[0].facts
    facts = MeterFacts(
        name=first.name if len(chosen) == 1 else "+".join(rail.name for rail in chosen),
        driver=first.driver,
        rail="+".join(rail.name for rail in chosen),
        scope=known.scope,
        counts=Counts.POWER,
        resolution=_added([rail.facts.resolution for rail in chosen]),
        # Read one after the other, so that all of them together are as old as the slowest.
        period_s=sum(rail.facts.period_s for rail in chosen) if len(chosen) > 1 else first.period_s,
        gain_error=first.gain_error,
        offset_mw=_added([rail.facts.offset_mw for rail in chosen]),
        note=f"{known.board}; {_NOTE}",
    )
    beside = [rail for rail in rails if rail.name not in known.whole]
    told = [*(chosen if len(chosen) > 1 else []), *beside]
    return FoundSensor(
        facts,
        partial(opened_together, [rail.opener for rail in chosen], [rail.opener for rail in beside]),
        is_whole=True,
        rails=tuple(
            replace(
                rail.facts,
                scope=known.parts[rail.name],
                parent=facts.name if rail in chosen else known.parents.get(rail.name, ""),
            )
            for rail in told
        ),
    )


def _added(values: list[float | None]) -> float | None:
    """What all of them may be off by together; None when one is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _parts(rails: list[_Rail], known: RailSet) -> list[FoundSensor]:
    """Every rail that is not itself the whole; never to be added to what includes it."""
    return [
        FoundSensor(
            replace(rail.facts, scope=known.parts[rail.name]), rail.opener, parent=known.parents.get(rail.name, "")
        )
        for rail in rails
        if known.whole != (rail.name,)
    ]


def _facts(chip: str, name: str, driver: str, period_s: float, step_mw: float | None) -> MeterFacts:
    offset_mw = None if step_mw is None else step_mw * _OFFSET_UV / _SHUNT_STEP_UV
    return MeterFacts(
        f"{driver} {chip} {name}", driver, name, "rail", Counts.POWER, step_mw, period_s,
        gain_error=None if offset_mw is None else _GAIN_ERROR, offset_mw=offset_mw, note=_NOTE,
    )  # fmt: skip


def _of_nvidia(root: Path, problems: list[Problem]) -> Iterator[_Rail]:
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")):
        chip = folder.parent.name
        for label in sorted(folder.glob("rail_name_*")):
            index, name = label.name.rpartition("_")[2], text_of(label)
            if name is None or name in UNCONNECTED:
                continue
            pair, power = folder / f"ui_input_{index}", folder / f"in_power{index}_input"
            opener: Callable[[], Source] = partial(_Pair, pair) if pair.exists() else partial(_Power, power)
            # Only the Nano's shunt is known, by what was read on Nanos.
            step_mw = _SHUNT_STEP_UV / _NANO_SHUNT_UOHM * 1e3 * _NANO_V if name.startswith("POM_5V_") else None
            facts = _facts(chip, name, "ina3221x", _IIO_PERIOD_S, step_mw)
            yield from _readable(_Rail(name, chip, opener, facts), problems)


def _of_kernel(root: Path, problems: list[Problem]) -> Iterator[_Rail]:
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text_of(folder / "name") != "ina3221":
            continue
        chip = folder.resolve().parent.parent.name
        period_s = 2 * float(_number(folder / "update_interval") or _DEFAULT_UPDATE_MS) / 1e3
        for channel in (1, 2, 3):
            name = text_of(folder / f"in{channel}_label")
            if name is None or name in UNCONNECTED or text_of(folder / f"in{channel}_enable") == "0":
                continue
            volts, current = folder / f"in{channel}_input", folder / f"curr{channel}_input"
            shunt, level = _number(folder / f"shunt{channel}_resistor"), _number(volts)
            step_mw = None if not shunt or not level else _SHUNT_STEP_UV / shunt * _nominal_v(level) * 1e3
            facts = _facts(chip, name, "ina3221", period_s, step_mw)
            yield from _readable(_Rail(name, chip, partial(_Product, volts, current), facts), problems)


def _readable(rail: _Rail, problems: list[Problem]) -> Iterator[_Rail]:
    """The rail, if it can be opened; one reading may fail and the next one not."""
    try:
        rail.opener().close()
    except PermissionError as error:
        problems.append(Problem(f"{rail.facts.name} may not be read: {error.strerror}", "run as a user that may", True))
    except OSError as error:
        problems.append(Problem(f"{rail.facts.name} cannot be read: {error.strerror}"))
    else:
        yield rail


def _nominal_v(level_mv: int) -> float:
    return min(_SUPPLIES_V, key=lambda volts: abs(volts - level_mv / 1e3))


def _number(path: Path) -> int | None:
    text = text_of(path)
    return int(text) if text is not None and text.isdecimal() else None


class _Power:
    """NVIDIA's driver: mW of one conversion. It fails with EAGAIN when the chip is not ready in time."""

    def __init__(self, path: Path) -> None:
        self._file = OpenFile(path)

    def read(self) -> float:
        return float(self._file.number())

    def close(self) -> None:
        self._file.close()


class _Pair:
    """NVIDIA's driver: mV and mA of one conversion."""

    def __init__(self, path: Path) -> None:
        self._file = OpenFile(path)

    def read(self) -> float:
        millivolts, milliamperes = self._file.pair()
        return millivolts * milliamperes / 1e3

    def close(self) -> None:
        self._file.close()


class _Product:
    """The kernel's driver: mV and mA, of two conversions. It says no power.

    Each of the two sleeps until a conversion of all channels ends, so together they take up to two of them. The
    current, which is what a load moves, is of the last one: between the middle of the reading, where its time is put,
    and its end.
    """

    def __init__(self, volts: Path, current: Path) -> None:
        self._volts = OpenFile(volts)
        try:
            self._current = OpenFile(current)
        except OSError:
            self._volts.close()
            raise

    def read(self) -> float:
        return self._volts.number() * self._current.number() / 1e3

    def close(self) -> None:
        self._volts.close()
        self._current.close()
