"""``edgecost doctor``: what is installed, what this machine is, and what would make its measurements noisy."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from .options import json_option
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..devices.boards.report import BoardReport

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
@click.option(
    "--recorded",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A recording of `edgecost record-board`: what would be said of that board.",
)
@json_option
def doctor(recorded: Path | None, as_json: bool) -> int:
    """What is installed, what this machine is, what would disturb measurements. Exit code 9 if a package is missing."""
    if recorded is not None:
        return _of_recording(recorded, as_json)
    from ..devices.boards.report import report_board
    from ..devices.boards.report_lines import report_lines
    from ..devices.host import facts_document, host_device, read_host
    from ..profiler.errors import MissingPackage

    facts = read_host()
    device = host_device(facts)
    board = report_board(facts=facts)
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
                **_board_document(board),
            }
        )
        return code
    click.echo(
        f"edgecost {_version('edgecost') or 'not installed'}, Python {platform.python_version()} ({sys.executable})"
    )
    click.echo(f"{device.name}: {device.description}, {facts.kernel}\n")
    _print_packages(installed, ffi)
    click.echo("\n".join(report_lines(board)))
    if missing:
        click.echo(f"\nMissing: {', '.join(missing)}. Install them: pip install 'edgecost[host]'")
        click.echo("A board that only runs the agent needs none of them but its runtime.")
    if not openmp:
        click.echo("\nMissing: the system library libgomp, which LightGBM needs. On Debian: apt install libgomp1")
    return code


def _of_recording(path: Path, as_json: bool) -> int:
    """What can be said of a board that is somewhere else, from what it wrote of itself."""
    from ..devices.boards.recording import load
    from ..devices.boards.report import report_board
    from ..devices.boards.report_lines import report_lines
    from ..profiler.errors import UsageError

    recording = load(path)
    if recording.unreadable and os.geteuid() == 0:
        raise UsageError(
            f"{path} has files that its user could not read, and root reads everything: they would look empty",
            remedy="look at it as an ordinary user",
        )
    with TemporaryDirectory() as folder:
        board = report_board(recording.unpack(Path(folder)), recording.recorded_commands(), recording.machine)
    if as_json:
        print_json({"recording": recording.name, **_board_document(board)})
    else:
        click.echo(
            "\n".join([f"{recording.name}, recorded on Linux {recording.kernel_release}\n", *report_lines(board)])
        )
    return 0


def _board_document(board: BoardReport) -> dict[str, object]:
    return {
        "board": dict(board.document()),
        "power_meters": [dict(one.document()) for one in board.meters],
        "power_problems": [asdict(one) for one in board.meter_problems],
        "findings": [asdict(one) for one in board.findings],
    }


def _print_packages(installed: Mapping[str, str | None], ffi: str | None) -> None:
    if installed["rich"] is None:
        click.echo("\n".join(f"{name}: {found or 'missing'}" for name, found in installed.items()))
    else:
        rows = [[name, found or "missing", _PACKAGES[name]] for name, found in installed.items()]
        print_table("Packages", ["package", "version", "for"], rows, left=3)
    if installed["apache-tvm"] is not None:
        click.echo(_tuning_note(ffi))


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
