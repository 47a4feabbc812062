"""Runtime profiles of this machine: which runtime is installed, and on which CPUs it should be timed."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from .errors import MissingPackage, UsageError
from .records import RuntimeProfile

#: Distributions that bring the module ``onnxruntime``; two of them beside each other are one broken installation.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def host_profile(*, threads: int = 1) -> RuntimeProfile:
    """ONNX Runtime on this machine's CPU, as it is installed beside edgecost.

    Raises:
        MissingPackage: ONNX Runtime is not installed.
        UsageError: fewer than one thread, or more than this process may use.
    """
    allowed = len(allowed_cpus())
    if not 1 <= threads <= allowed:
        raise UsageError(f"{threads} threads were asked for; this process may use 1 to {allowed}")
    return RuntimeProfile(runtime="onnxruntime", version=_installed_version(), threads=threads)


def _installed_version() -> str:
    for distribution in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version(distribution)
    raise MissingPackage("onnxruntime is not installed", remedy="pip install 'edgecost[host]'")


def allowed_cpus() -> tuple[int, ...]:
    """The CPUs this process may run on, ascending; container limits included."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def timing_cpus(threads: int) -> tuple[int, ...]:
    """The CPUs to pin a runner to: the last ones, since the first serves most interrupts."""
    return allowed_cpus()[-threads:]
