"""Compile a model with TVM ahead of time, for this machine or for a board, into a folder that is run there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..profiler.errors import OutputError, UsageError
from ..profiler.kernels.by_runtime import refusal_error
from ..profiler.loading import LoadRefused
from ..profiler.records import Json, RuntimeProfile
from ..profiler.runtimes import NamedRuntime
from ..profiler.tvm.client import RUN_SCRIPT, TvmLoader
from ..profiler.workload import Workload

#: What stands in the folder of a compiled model.
LIBRARY, ARTEFACT, SCRIPT = "lib.so", "artefact.json", "run.py"
#: The machine itself, as a name for ``for_cpu``.
HOST = "host"


@dataclass(frozen=True)
class BoardCpu:
    """A CPU that boards have, by LLVM's name for it, with the triple of its usual operating system."""

    name: str
    board: str
    triple: str = "aarch64-linux-gnu"


BOARD_CPUS: Mapping[str, BoardCpu] = {
    cpu.name: cpu
    for cpu in (
        BoardCpu("cortex-a57", "Jetson Nano"),
        BoardCpu("cortex-a72", "Raspberry Pi 4"),
        BoardCpu("cortex-a76", "Raspberry Pi 5"),
    )
}


@dataclass(frozen=True)
class CompiledModel:
    """A folder with a library, what there is to know of it, and a script that times it with TVM's runtime alone.

    Attributes:
        compile_ms: by stage: import, pipeline, codegen, export.
        kernels: calls of one run; ``tuned_kernels`` of them have a schedule that was searched for.
    """

    folder: Path
    profile: RuntimeProfile
    target: Mapping[str, Json]
    compile_ms: Mapping[str, float]
    library_bytes: int
    kernels: int
    tuned_kernels: int


def for_cpu(named: NamedRuntime, cpu: str = HOST, triple: str | None = None) -> NamedRuntime:
    """A TVM runtime that makes code for a CPU.

    Args:
        cpu: ``host``, one of ``BOARD_CPUS``, or any name that LLVM knows.
        triple: of the system that will run it; None for that of the board, or of this machine.

    Raises:
        UsageError: the runtime is not TVM, or a triple is given without a CPU.
    """
    if named.runtime != "tvm":
        raise UsageError(
            f"{named.name} compiles nothing ahead of time", remedy="one of the TVM runtimes does: --runtime tvm"
        )
    if cpu == HOST:
        if triple is not None:
            raise UsageError(f"for {triple} the CPU must be named", remedy="--cpu cortex-a72, or any name of LLVM's")
        return named
    triple = triple or (BOARD_CPUS[cpu].triple if cpu in BOARD_CPUS else None)
    # What the runtime says of another CPU's features does not hold for this one.
    options = {key: value for key, value in named.options if key not in ("mcpu", "mattr", "mtriple")}
    options |= {"mcpu": cpu, **({"mtriple": triple} if triple else {})}
    return replace(named, options=tuple(sorted(options.items())))


def compile_model(workload: Workload, profile: RuntimeProfile, folder: Path, *, seed: int = 0) -> CompiledModel:
    """Write ``lib.so``, ``artefact.json`` and ``run.py`` into a folder, which is made; what they replace is lost.

    The weights stay inside the library.

    Args:
        seed: of the weights that the workload has only a recipe for.

    Raises:
        UsageError: TVM makes no code for the profile's target.
        ModelError: TVM cannot take the model.
        MissingPackage: TVM, or the compiler that links for the target, is not installed.
        OutputError: the folder cannot be written.
    """
    loader = TvmLoader(profile)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        answer = loader.compile(workload, folder.absolute(), seed)
        artefact = {
            **json.loads((folder / ARTEFACT).read_text()),
            "model": workload.name,
            "graph_hash": workload.graph_hash,
            "profile": profile.document(),
        }
        (folder / ARTEFACT).write_text(json.dumps(artefact, indent=1))
        shutil.copyfile(RUN_SCRIPT, folder / SCRIPT)
    except LoadRefused as refusal:
        raise refusal_error(refusal, profile) from refusal
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    finally:
        loader.close()
    stages = answer["compile_ms"]
    assert isinstance(stages, dict)
    return CompiledModel(
        folder=folder,
        profile=profile,
        target=artefact["target"],
        compile_ms={stage: ms for stage, ms in stages.items() if isinstance(ms, float)},
        library_bytes=artefact["library_bytes"],
        kernels=len(artefact["kernels"]),
        tuned_kernels=artefact["tuned_kernels"],
    )
