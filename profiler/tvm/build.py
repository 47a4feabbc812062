"""Compile an ONNX file with TVM into a shared library that TVM's runtime alone can run, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relax

from .importer import Imported, import_model
from .lower import lower
from .outcomes import naming_causes
from .table import KernelTable
from .target import linker, make_target

#: The library in the folder of a compiled model.
LIBRARY = "lib.so"


def compile_model(
    model_path: Path, description: Mapping[str, object], pipeline: str, database: Path | None, folder: Path
) -> tuple[dict[str, int], dict[str, object]]:
    """Write ``folder/lib.so``; returns nanoseconds by stage, and what there is to know of the library.

    The weights stay inside the library. A run of ``main`` takes the inputs in the order given.

    Raises:
        Refused: for a cause that has a name, among them a missing linker, which is found before any work is done.
    """
    target, link = make_target(description), linker(description)
    folder.mkdir(parents=True, exist_ok=True)
    clock = time.perf_counter_ns
    marks = [clock()]
    imported = import_model(model_path)
    # Types of the outputs are those of the imported main: bytecode has none.
    outputs = output_slots(imported)
    marks.append(clock())
    lowered = lower(imported, target, pipeline, database)
    marks.append(clock())
    with naming_causes("generate code"):
        executable = tvm.compile(lowered.module, target, relax_pipeline=None)
    marks.append(clock())
    with naming_causes("link the library"):
        executable.export_library(str(folder / LIBRARY), fcompile=link)
    marks.append(clock())
    stages = ("import", "pipeline", "codegen", "export")
    took = {stage: marks[i + 1] - marks[i] for i, stage in enumerate(stages)}
    kernels = lowered.table.kernels
    return took, {
        "tvm_version": tvm.__version__,
        "target": dict(description),
        "pipeline": pipeline,
        "inputs": [{"name": name, "shape": list(shape), "dtype": dtype} for name, shape, dtype in imported.inputs],
        "outputs": outputs,
        "kernels": [kernel.document() for kernel in kernels],
        "folded": list(lowered.table.folded),
        "tuned_kernels": sum(kernel.tuned for kernel in kernels),
        "library_bytes": (folder / LIBRARY).stat().st_size,
    }


def kernel_table(
    model_path: Path, description: Mapping[str, object], pipeline: str, database: Path | None
) -> KernelTable:
    """The kernels that ``compile_model`` would generate code for.

    Raises:
        Refused: for a cause that has a name.
    """
    return lower(import_model(model_path), make_target(description), pipeline, database).table


def output_slots(imported: Imported) -> list[dict[str, object]]:
    """Shape and type of each output; a dimension that only the run decides is None."""
    kind = imported.module["main"].ret_ty
    found: list[dict[str, object]] = []
    for part in kind.fields if isinstance(kind, relax.TupleType) else [kind]:
        shape = part.shape.values if isinstance(part.shape, relax.ShapeExpr) else ()
        sizes = [int(dim.value) if hasattr(dim, "value") else None for dim in shape]
        found.append({"shape": sizes, "dtype": str(part.dtype)})
    return found
