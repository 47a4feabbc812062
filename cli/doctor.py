"""``edgecost doctor``: what is installed, what this machine is, and what would make its measurements noisy."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from .options import json_option
from .output import print_json, print_table

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
}
_OPTIONAL = frozenset({"psycopg"})


@click.command(epilog="Example:  edgecost doctor")
@json_option
def doctor(as_json: bool) -> int:
    """What is installed, what this machine is, what would disturb measurements. Exit code 9 if a package is missing."""
    from ..devices.host import facts_document, find_noise, host_device, read_host
    from ..profiler.errors import MissingPackage

    facts = read_host()
    device = host_device(facts)
    findings = find_noise(facts)
    installed = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, found in installed.items() if found is None and name not in _OPTIONAL]
    openmp = _loads("libgomp.so.1")
    code = MissingPackage.exit_code if missing or not openmp else 0
    if as_json:
        print_json(
            {
                "edgecost_version": _version("edgecost"),
                "python_version": platform.python_version(),
                "python": sys.executable,
                "packages": installed,
                "libgomp": openmp,
                "device": device.description,
                "device_identity": device.identity,
                "facts": dict(facts_document(facts)),
                "findings": [{"what": f.what, "consequence": f.consequence, "remedy": f.remedy} for f in findings],
            }
        )
        return code
    click.echo(
        f"edgecost {_version('edgecost') or 'not installed'}, Python {platform.python_version()} ({sys.executable})"
    )
    click.echo(f"{device.name}: {device.description}, {facts.kernel}\n")
    if installed["rich"] is None:
        click.echo("\n".join(f"{name}: {found or 'missing'}" for name, found in installed.items()))
    else:
        rows = [[name, found or "missing", _PACKAGES[name]] for name, found in installed.items()]
        print_table("Packages", ["package", "version", "for"], rows, left=3)
    for finding in findings:
        click.echo(f"! {finding.what}\n    {finding.consequence}\n    → {finding.remedy}")
    if not findings:
        click.echo("Nothing was found that would disturb measurements.")
    if missing:
        click.echo(f"\nMissing: {', '.join(missing)}. Install them: pip install 'edgecost[host]'")
    if not openmp:
        click.echo("\nMissing: the system library libgomp, which LightGBM needs. On Debian: apt install libgomp1")
    return code


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
