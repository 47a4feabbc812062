"""``edgecost doctor``: what is installed, what this machine is, and what would make its measurements noisy."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click

from .energy_output import watts
from .options import json_option
from .output import milliseconds, print_json, print_table

if TYPE_CHECKING:
    from ..devices.sensors.source import Problem
    from ..devices.sensors.survey import SurveyedSensor
    from ..profiler.energy.meter import MeterFacts

#: Packages by what they are for.
_PACKAGES = {
    "onnxruntime": "runs the graphs",
    "onnx": "builds and reads graphs",
    "numpy": "arithmetic",
    "scipy": "least squares, ranks",
    "lightgbm": "the predictor",
    "sqlalchemy": "the database",
    "alembic": "migrations of the database",
    "rich": "tables and progress",
    "pyyaml": "LUTs in YAML",
    "psycopg": "PostgreSQL (optional)",
    "apache-tvm": "the runtime TVM (optional)",
    "matplotlib": "pictures of comparisons (optional)",
}
_OPTIONAL = frozenset({"psycopg", "apache-tvm", "matplotlib"})
#: With others, 0.1.15 among them, TVM 0.27 ends in a segmentation fault as soon as it makes a space to tune in.
_TUNING_FFI = "0.1.14.post1"


@click.command(epilog="Example:  edgecost doctor")
@json_option
def doctor(as_json: bool) -> int:
    """What is installed, what this machine is, what would disturb measurements. Exit code 9 if a package is missing."""
    from ..devices.boards.report import report_board
    from ..devices.host import facts_document, find_noise, host_device, read_host
    from ..devices.sensors import find_sensors
    from ..devices.sensors.survey import survey
    from ..profiler.errors import MissingPackage

    facts = read_host()
    device = host_device(facts)
    findings = find_noise(facts)
    sensors = find_sensors()
    board = report_board(sensors=sensors)
    meters, meter_problems = survey(sensors)
    installed = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, found in installed.items() if found is None and name not in _OPTIONAL]
    ffi = _version("apache-tvm-ffi")
    openmp = _loads("libgomp.so.1")
    code = MissingPackage.exit_code if missing or not openmp else 0
    if as_json:
        print_json(
            {
                "edgecost_version": _version("edgecost"),
                "python_version": platform.python_version(),
                "python": sys.executable,
                "packages": installed,
                "tvm": {"apache_tvm_ffi": ffi, "apache_tvm_ffi_known_to_tune": _TUNING_FFI},
                "libgomp": openmp,
                "device": device.description,
                "device_identity": device.identity,
                "facts": dict(facts_document(facts)),
                "board": dict(board.document()),
                "power_meters": [dict(one.document()) for one in meters],
                "power_problems": [asdict(one) for one in meter_problems],
                "findings": [{"what": f.what, "consequence": f.consequence, "remedy": f.remedy} for f in findings],
            }
        )
        return code
    click.echo(
        f"edgecost {_version('edgecost') or 'not installed'}, Python {platform.python_version()} ({sys.executable})"
    )
    click.echo(f"{device.name}: {device.description}, {facts.kernel}\n")
    _print_packages(installed, ffi)
    click.echo("\n".join(board.board_lines()) + "\n")
    _print_meters(meters, meter_problems)
    for finding in findings:
        click.echo(f"! {finding.what}\n    {finding.consequence}\n    → {finding.remedy}")
    if not findings:
        click.echo("Nothing was found that would disturb measurements.")
    if missing:
        click.echo(f"\nMissing: {', '.join(missing)}. Install them: pip install 'edgecost[host]'")
        click.echo("A board that only runs the agent needs none of them but its runtime.")
    if not openmp:
        click.echo("\nMissing: the system library libgomp, which LightGBM needs. On Debian: apt install libgomp1")
    return code


def _print_packages(installed: Mapping[str, str | None], ffi: str | None) -> None:
    if installed["rich"] is None:
        click.echo("\n".join(f"{name}: {found or 'missing'}" for name, found in installed.items()))
    else:
        rows = [[name, found or "missing", _PACKAGES[name]] for name, found in installed.items()]
        print_table("Packages", ["package", "version", "for"], rows, left=3)
    if installed["apache-tvm"] is not None:
        click.echo(_tuning_note(ffi))


def _print_meters(meters: Sequence[SurveyedSensor], problems: Sequence[Problem]) -> None:
    rows = [
        [
            f"{one.facts.name}{' *' if one.is_whole else ''}",
            one.facts.scope,
            "–" if one.power_mw is None else watts(one.power_mw),
            _step(one.facts),
            f"{1 / one.facts.period_s:.3g} Hz",
            milliseconds(one.cost.median_ms),
            f"{one.window_s:.3g} s",
        ]
        for one in meters
    ]
    if rows:
        heads = ["power meter (* of the whole)", "scope", "now", "step", "rate", "a reading", "window"]
        print_table("Power meters", heads, rows, left=2)
    for problem in problems:
        click.echo(f"! {problem.what}" + (f"\n    → {problem.remedy}" if problem.remedy else ""))
    if not any(one.is_whole for one in meters):
        click.echo("Energy cannot be measured here without a power meter: docs/how-to/add-a-power-meter.md\n")


def _step(facts: MeterFacts) -> str:
    if facts.resolution is None:
        return "–"
    return f"{facts.resolution:g} {'mW' if facts.counts.value == 'power' else 'mJ'}"


def _tuning_note(ffi: str | None) -> str:
    """Whether TVM can tune here: that hangs on a package that pip chooses for it."""
    if ffi == _TUNING_FFI:
        return f"TVM stands on apache-tvm-ffi {ffi}, the only one known to tune without crashing.\n"
    return (
        f"! TVM stands on apache-tvm-ffi {ffi or '(missing)'}\n"
        f"    only {_TUNING_FFI} is known to tune without crashing\n"
        f"    → pip install apache-tvm-ffi=={_TUNING_FFI}\n"
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
