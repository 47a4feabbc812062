"""Try a search space out: every cell is built at its shape, cells with equal keys are equal, whole networks run.

What reads a space from a file finds what is wrong with the file; this finds what is wrong with the space.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from ..profiler.errors import ModelError, UsageError
from ..profiler.model_file import with_weight_inputs
from ..profiler.weights import complete
from ..profiler.workload import Workload
from .space import Space
from .spaces.cell import Cell
from .spaces.coding import Numeric

#: Weights of the largest network that is run: what a small machine holds twice, with its activations.
RUN_BYTES = 1 << 29


@dataclass(frozen=True)
class SpaceCheck:
    """What was tried.

    Attributes:
        size: number of architectures.
        cells: measurable ones; ``built`` of them were built.
        networks: whole ones that ran in ONNX Runtime.
        too_large: whole ones whose shapes were inferred alone: their weights are beyond ``RUN_BYTES``.
        roundtrips: architectures that were the same after being written in the space's own form and read again.
    """

    name: str
    positions: int
    size: int
    cells: int
    fixed: int
    is_chain: bool
    built: int
    roundtrips: int
    networks: int
    too_large: int


def check_space(
    space: Space,
    *,
    cells: int | None = None,
    networks: int = 3,
    seed: int = 0,
    progress: Callable[[str], None] = lambda done: None,
) -> SpaceCheck:
    """Build cells, translate architectures, run networks.

    Args:
        cells: how many are built, drawn from ``seed``; None for all.
        progress: is told what was done, one thing after the other.

    Raises:
        ModelError: a cell is not what it says, two keys have one graph, or a network does not run.
        UsageError: an architecture is another one after it was written and read.
    """
    drawn = random.Random(seed).sample(space.measurable, min(cells or len(space.measurable), len(space.measurable)))
    _check_cells(space, drawn, progress)
    archs = space.sample(min(100, space.size), seed)
    _check_roundtrip(space, archs)
    _check_sums(space, archs)
    progress("architectures")
    ran = too_large = 0
    for arch in archs[:networks]:
        workload = space.build(arch)
        _infer_shapes(workload)
        if _weight_bytes(workload) > RUN_BYTES:
            too_large += 1
        else:
            _run(workload)
            ran += 1
        progress(workload.name)
    return SpaceCheck(
        name=space.name,
        positions=len(space.positions),
        size=space.size,
        cells=len(space.measurable),
        fixed=len(space.fixed),
        is_chain=space.is_chain,
        built=len(drawn),
        roundtrips=len(archs),
        networks=ran,
        too_large=too_large,
    )


def _check_cells(space: Space, cells: list[Cell], progress: Callable[[str], None]) -> None:
    by_graph: dict[str, str] = {}
    for cell in cells:
        workload = space.workload(cell)  # refuses a shape that is not the promised one
        assert workload is not None, "a measurable cell executes something"
        other = by_graph.setdefault(workload.graph_hash, cell.key)
        if other != cell.key:
            raise ModelError(f"the cells {other} and {cell.key} are one graph", remedy="It would be measured twice.")
        progress(cell.key)


def _check_roundtrip(space: Space, archs: Numeric) -> None:
    again = space.encode(space.decode(archs))
    if (again != archs).any():
        row = int(np.argmax((again != archs).any(axis=1)))
        native = space.decode(archs[row : row + 1])[0]
        raise UsageError(
            f"the architecture {archs[row].tolist()} is written {native}, which is read as {again[row].tolist()}",
            remedy='Let [native] name every choice, or use form = "indices".',
        )


def _check_sums(space: Space, archs: Numeric) -> None:
    """The tables that prices are summed from hold the cells that networks are built of."""
    number = {cell.key: place for place, cell in enumerate(space.measurable)}
    for arch, used in zip(archs, space.uses(archs), strict=True):
        counted = np.zeros(len(number))
        for cell in space.cells_of(arch):
            if not cell.absent:
                counted[number[cell.key]] += 1
        assert (counted == used).all(), f"{space.name}: {arch.tolist()} is priced by other cells than it has"


def _weight_bytes(workload: Workload) -> int:
    return sum(math.prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in workload.weights)


def _infer_shapes(workload: Workload) -> None:
    model = with_weight_inputs(onnx.ModelProto.FromString(workload.skeleton), workload.weights)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{workload.name} is no valid graph: {error}") from error


def _run(workload: Workload) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = complete(workload.skeleton, workload.weights)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {one.name: _input(one.shape, one.type) for one in session.get_inputs()})
    except (onnxruntime_errors.Fail, onnxruntime_errors.InvalidGraph, onnxruntime_errors.RuntimeException) as error:
        raise ModelError(f"{workload.name} does not run: {error}") from error
    if not all(np.isfinite(output).all() for output in outputs):
        raise ModelError(f"{workload.name} makes numbers that are not finite")


def _input(shape: list[int], kind: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Noise; ids are all 0, which is in every vocabulary."""
    if "int64" in kind:
        return np.zeros(shape, dtype=np.int64)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
