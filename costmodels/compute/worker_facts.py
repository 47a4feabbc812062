"""What has to be the same on all machines for the same work to give the same bits, and where workers differ from here.

Versions alone are not enough: two working copies of edgecost have one version, and NumPy computes exponentials by other
instructions on another processor.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ...profiler.errors import ClusterMismatch

#: Facts by name. What is not installed has no fact.
Facts = Mapping[str, str]
#: What numbers depend on; ``distributed`` and ``cloudpickle`` because work travels by them.
PACKAGES = ("edgecost", "numpy", "lightgbm", "onnxruntime", "onnx", "scipy", "cloudpickle", "dask", "distributed")
_NOTHING = "none"


@lru_cache(maxsize=1)
def here() -> Facts:
    """Of this process."""
    return {**versions(), "code of edgecost": _code(), "arithmetic": _arithmetic()}


def versions() -> dict[str, str]:
    """Of Python (its minor version: objects travel between patches) and of the packages."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = _NOTHING
    return found


def require_same(wanted: Facts, of_worker: Mapping[str, Facts]) -> None:
    """Raises ClusterMismatch where workers differ, and says in what."""
    differ: dict[tuple[str, str], list[str]] = {}
    for worker, facts in of_worker.items():
        for name, value in wanted.items():
            if facts.get(name, _NOTHING) != value:
                differ.setdefault((name, facts.get(name, _NOTHING)), []).append(worker)
    if differ:
        listed = "; ".join(
            f"{name} is {there} on {_few(workers)}, {wanted[name]} here" for (name, there), workers in differ.items()
        )
        raise ClusterMismatch(f"the cluster would not compute what this machine does: {listed}", remedy=_remedy(differ))


def _remedy(differ: Mapping[tuple[str, str], list[str]]) -> str:
    if {name for name, _ in differ} == {"arithmetic"}:
        return (
            "the processors differ: take workers of one kind, or start all of them, and this command, with"
            " NPY_DISABLE_CPU_FEATURES naming what only some have"
        )
    return "install the same on every worker: pip install 'edgecost[host,dask]' of one version, on one Python"


def _few(workers: list[str]) -> str:
    return workers[0] if len(workers) == 1 else f"{len(workers)} workers such as {workers[0]}"


def _code() -> str:
    """Of the package as it lies there, whatever its version says."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for room in ("profiler", "devices", "db", "costmodels"):
        for file in sorted((root / room).rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _arithmetic() -> str:
    """Of what predictors compute by: exponentials, logarithms, sums and products of matrices, to the last bit."""
    x = np.linspace(-20.0, 20.0, 4099)
    square = np.cos(np.arange(96.0 * 96)).reshape(96, 96)
    results = (np.exp(x), np.log(np.abs(x) + 0.1), np.cumsum(x), np.array([x.sum()]), square @ square.T)
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()[:16]
