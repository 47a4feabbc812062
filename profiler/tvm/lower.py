"""From Relax to something that can be compiled: TVM's own pipelines, stopped where the kernels can be seen.

``default``    what TVM runs for a CPU target (``relax.get_default_pipeline``): legalise, fold, fuse, lower.
``zero``       TVM's ``zero`` pipeline, then the lowering of ``default``; sorting is not handed to TVM's library.
``schedules``  ``default``, and the ready-made CPU schedules of ``s_tir.dlight``.
``tuned``      ``default``, and the schedules that MetaSchedule found and a database keeps.

The passes are those lists as TVM makes them, taken apart at fusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tvm
from tvm import relax
from tvm.ir.transform import Pass, Sequential
from tvm.relax.backend.cpu_generic import pipeline as cpu
from tvm.s_tir import dlight

from .database import open_database
from .importer import Imported
from .origin import Origin, replay_fusion
from .outcomes import Refused, naming_causes
from .table import KernelTable, read_kernels

PIPELINES = ("default", "zero", "schedules", "tuned")
_CPU_RULES = (dlight.cpu.GEMV, dlight.cpu.Reduction)


@dataclass(frozen=True)
class Fused:
    """A module whose ``main`` calls one function per kernel, none of them scheduled; ``origins`` has one per call."""

    module: tvm.IRModule
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Lowered:
    """A module ready for code generation, and the kernels it had before its ``main`` became bytecode."""

    module: tvm.IRModule
    table: KernelTable


def fuse(imported: Imported, target: tvm.target.Target, pipeline: str) -> Fused:
    """Legalise, fold constants and fuse, as the pipeline does.

    Raises:
        Refused: ``unsupported_operator`` where an operator remains that TVM cannot lower.
    """
    before, after = _passes(target, pipeline)
    with target, naming_causes("legalise and fuse the graph"):
        unfused = Sequential(before)(imported.module)
        grouped = relax.transform.FuseOps()(unfused)
        module = Sequential(after)(grouped)
    return Fused(module, tuple(replay_fusion(unfused, grouped)))


def lower(imported: Imported, target: tvm.target.Target, pipeline: str, database: Path | None) -> Lowered:
    """Take a model through a pipeline, all but code generation.

    Raises:
        Refused: the pipeline is none of ``PIPELINES``, or is ``tuned`` without a database.
    """
    fused = fuse(imported, target, pipeline)
    views, *rest = cpu.dataflow_lower_passes(target)
    with target, naming_causes("schedule the kernels"):
        module = views(_schedule(fused.module, pipeline, database))
    tuned = _scheduled(module) if pipeline == "tuned" else frozenset()
    table = read_kernels(module, fused.origins, imported.model, tuned)
    with target, naming_causes("lower the graph"):
        module = Sequential([*rest, *cpu.finalize_passes(target)])(module)
    return Lowered(module, table)


def _passes(target: tvm.target.Target, pipeline: str) -> tuple[list[Pass], list[Pass]]:
    """The passes before FuseOps and those after it, up to FuseTIR or the dispatch that follows it."""
    if pipeline not in PIPELINES:
        raise Refused("invalid_request", f"there is no pipeline {pipeline}: {', '.join(PIPELINES)}")
    dispatch = cpu.library_dispatch_passes(target)
    legalise = cpu.legalize_passes(target)
    at = [step.info.name for step in legalise].index("FuseOps")
    if pipeline == "zero":
        return legalise[:at], [*legalise[at + 1 :], *dispatch, relax.transform.LegalizeOps()]
    return [*dispatch, *legalise[:at]], legalise[at + 1 :]


def _schedule(module: tvm.IRModule, pipeline: str, database: Path | None) -> tvm.IRModule:
    if pipeline == "schedules":
        return dlight.ApplyDefaultSchedule(*(rule() for rule in _CPU_RULES))(module)
    if pipeline != "tuned":
        return module
    if database is None:
        raise Refused("invalid_request", "the pipeline tuned needs a tuning database")
    with open_database(database):
        return relax.transform.MetaScheduleApplyDatabase()(module)


def _scheduled(module: tvm.IRModule) -> frozenset[str]:
    return frozenset(
        str(name.name_hint)
        for name, function in module.functions.items()
        if isinstance(function, tvm.tirx.PrimFunc) and function.attrs and function.attrs.get("tirx.is_scheduled")
    )
