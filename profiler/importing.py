"""Whether a runtime can be imported: asked in a process of its own, since an import may end the process.

ONNX Runtime 1.21.0 ends in an illegal instruction on ARMv8.0, and others end where a container hides /proc or /sys from
them. That is something to tell, with the signal's name, and nobody else's death.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .client import RUNNER, START_TIMEOUT_S
from .records import Json

#: What a runtime is called by Python, by pip, and by those who build it for GPUs; the first that is installed counts.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "tvm": ("apache-tvm", "tvm"),
}


@dataclass(frozen=True)
class ImportedRuntime:
    """What became of importing a runtime.

    Attributes:
        version: as it says itself, else as its package is installed; None where neither is.
        problem: why it cannot be used; empty where it can.
        is_installed: whether there is such a package or module at all.
        signal: the name of the signal that ended the import, such as ``SIGILL``; empty for none.
    """

    runtime: str
    version: str | None = None
    providers: tuple[str, ...] = ()
    problem: str = ""
    is_installed: bool = True
    signal: str = ""

    @property
    def is_usable(self) -> bool:
        return not self.problem

    def document(self) -> Mapping[str, Json]:
        """As JSON."""
        return {
            "runtime": self.runtime,
            "version": self.version,
            "providers": list(self.providers),
            "installed": self.is_installed,
            "usable": self.is_usable,
            "problem": self.problem or None,
            "signal": self.signal or None,
        }


def import_runtime(runtime: str, command: Sequence[str] = (), *, timeout_s: float = START_TIMEOUT_S) -> ImportedRuntime:
    """Import a runtime in a process of its own and say what became of it.

    Args:
        runtime: ``onnxruntime`` or ``tvm``.
        command: what is started in place of the runner of this interpreter, with the runtime's name after it.
    """
    # What is installed beside edgecost says nothing of another interpreter.
    version = None if command else _installed(runtime)
    if not command and version is None and not _is_module(runtime):
        return ImportedRuntime(runtime, problem="not installed", is_installed=False)
    argv = [*(command or (sys.executable, str(RUNNER), "--describe")), runtime]
    try:
        ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return ImportedRuntime(runtime, version, problem=f"its import did not end within {timeout_s:g} s")
    except OSError as error:
        return ImportedRuntime(runtime, version, problem=f"{argv[0]} cannot be started: {error.strerror}")
    if ended.returncode < 0:
        name = _signal_name(-ended.returncode)
        return ImportedRuntime(runtime, version, problem=f"its import is ended by {name}", signal=name)
    with suppress(ValueError, IndexError, KeyError, TypeError):
        told = json.loads(ended.stdout.splitlines()[-1])
        if "problem" in told:
            return ImportedRuntime(runtime, version, problem=f"it cannot be imported: {told['problem']}")
        return ImportedRuntime(runtime, str(told["version"]), tuple(map(str, told["providers"])))
    last_words = ended.stderr[-300:].decode(errors="replace").strip().rpartition("\n")[2]
    why = last_words or f"exit code {ended.returncode}"
    return ImportedRuntime(runtime, version, problem=f"its import ended without an answer: {why}")


def _is_module(name: str) -> bool:
    """Whether there is one, without running any of it."""
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _installed(runtime: str) -> str | None:
    # 2 MB of e-mail parsing come with it, which only those who ask pay for.
    from importlib.metadata import PackageNotFoundError, version

    for distribution in DISTRIBUTIONS.get(runtime, (runtime,)):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
