"""A board's report as text: the same for a board that is here and for one that was recorded."""

from __future__ import annotations

from ..host import Finding
from .advice import Advice
from .board import BoardIdentity
from .known_bad import KnownBad
from .report import BoardReport

#: What the guards do on every board, which is not found by looking at one.
_ALWAYS = "on every board: settings that change meanwhile, gaps between readings, windows that disagree"


def report_lines(report: BoardReport) -> list[str]:
    """Sections with their heads, an empty line after each."""
    sections = {
        "Board": _identity(report),
        "Runtimes": _runtimes(report),
        "Power meters": _meters(report),
        "Guards: what spoils a measurement here, and whether it is seen": _guards(report),
        "For quieter numbers": _quieter(report),
    }
    lines: list[str] = []
    for head, body in sections.items():
        lines += [head, *(f"  {line}" for line in body), ""]
    return lines[:-1]


def _identity(report: BoardReport) -> list[str]:
    board = report.board
    facts = {
        "board": f"{board.name or 'without a name'} ({board.kind})",
        "chip": _chip(board),
        "module": board.module,
        "L4T": board.l4t if board.jetpack is None else f"{board.l4t}, JetPack {board.jetpack}",
        "power mode": _power_mode(board),
        "CPUs that are off": report.cpus_offline,
        "GPU": ", ".join(board.gpus) or None,
        "glibc": board.glibc,
    }
    return [
        *(f"{key}: {value}" for key, value in facts.items() if value is not None),
        *(line for one in board.missing for line in (f"not known: {one.what}", f"    → {one.where}")),
    ]


def _chip(board: BoardIdentity) -> str | None:
    if board.soc is None or not board.armv8_0:
        return board.soc
    return f"{board.soc}, ARMv8.0"


def _power_mode(board: BoardIdentity) -> str | None:
    if board.power_mode is None:
        return None
    others = ", ".join(f"{one.name} ({one.number})" for one in board.power_modes if one != board.power_mode)
    here = f"{board.power_mode.name} ({board.power_mode.number})"
    return f"{here}; others: {others}" if others else here


def _runtimes(report: BoardReport) -> list[str]:
    if report.unusable:
        return [f"! {report.unusable}"]
    lines = ["installed: not asked, since this is a recording"] if report.is_recording else []
    for one in report.runtimes or ():
        called = f"{one.runtime} {one.version or ''}".strip()
        known = [bad for bad in report.versions if one.version is not None and bad.is_of(one.runtime, one.version)]
        if one.is_usable:
            lines.append(f"{called}: can be used ({', '.join(one.providers)})")
        else:
            lines.append(f"{'! ' if one.is_installed else ''}{called}: {one.problem}")
        lines += [f"    → {bad.remedy}" for bad in known]
    return [*lines, *report.wheels, *(line for one in report.versions for line in _bad(one))]


def _bad(one: KnownBad) -> list[str]:
    return [f"avoid {one.package}{one.versions}: {one.consequence}", f"    → {one.remedy}", f"    ({one.source})"]


def _meters(report: BoardReport) -> list[str]:
    whole = next((one.facts.rail for one in report.meters if one.is_whole), "")
    lines = [line for one in report.meters for line in one.lines(whole)]
    if report.meters and report.is_recording:
        lines.append("what a reading takes: not measured, since this is a recording")
    if report.no_energy:
        lines.append(f"! energies are {report.no_energy}")
    if report.no_energy.startswith("unsupported"):
        lines.append("    → what else there is: docs/how-to/add-a-power-meter.md")
    return [*lines, *(line for one in report.meter_problems for line in _advised(one))]


def _guards(report: BoardReport) -> list[str]:
    return [*(line for one in report.guards for line in one.lines()), _ALWAYS]


def _quieter(report: BoardReport) -> list[str]:
    found = [line for one in report.advice for line in _advised(one)]
    found += [line for one in report.findings for line in _found(one)]
    return found or ["Nothing was found that would disturb measurements."]


def _advised(one: Advice) -> list[str]:
    return [f"! {one.what}", *([f"    → {one.remedy}"] if one.remedy else [])]


def _found(one: Finding) -> list[str]:
    return [f"! {one.what}", f"    {one.consequence}", f"    → {one.remedy}"]
