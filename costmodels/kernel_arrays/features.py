"""Features and work terms of many kernels at once: ``feature_matrix`` and ``work_matrix``, column by column."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.graph import Kernel
from ...profiler.kernels.views import VIEWS
from .. import features as scalar
from ..composition import CORE_CACHE_BYTES
from ..features import FEATURES, WORK
from .loops import loops_of_rows
from .rows import Extents, Ints, KernelRows
from .work import WorkRows, extent, filter_of_rows, has_arrays, known_shapes, work_of_rows

Floats = npt.NDArray[np.float64]


def feature_rows(rows: KernelRows) -> Floats:
    """Shape (rows, len(FEATURES)); the numbers of ``feature_matrix``."""
    if rows.op in VIEWS:
        return _alike(rows, scalar.feature_matrix)
    return _feature_columns(rows) if has_arrays(rows) else scalar.feature_matrix(rows.kernels())


def work_rows(rows: KernelRows, core_cache_bytes: int | None = None) -> Floats:
    """Shape (rows, len(WORK)); the numbers of ``work_matrix``."""

    def of_kernels(kernels: list[Kernel]) -> Floats:
        return scalar.work_matrix(kernels, core_cache_bytes)

    if rows.op in VIEWS:
        return _alike(rows, of_kernels)
    return _work_columns(rows, core_cache_bytes or CORE_CACHE_BYTES) if has_arrays(rows) else of_kernels(rows.kernels())


def _alike(rows: KernelRows, of_kernels: Callable[[list[Kernel]], Floats]) -> Floats:
    """A view costs what one of a single element does: one row for all, unless a shape is unknown."""
    if None in (*rows.inputs, *rows.outputs) or not rows.count:
        return of_kernels(rows.kernels())
    return np.repeat(of_kernels(rows.take(np.arange(1)).kernels()), rows.count, axis=0)


def _work_columns(rows: KernelRows, cache: int) -> Floats:
    work, loops = work_of_rows(rows), loops_of_rows(rows)
    moved = _moved_megabytes(work)
    left = (moved * 1e6 / cache - scalar.LEAVES_FROM) / (scalar.LEFT_BY - scalar.LEAVES_FROM)
    columns = [
        np.ones(rows.count),
        work.mega_flops,
        work.input_megabytes,
        work.output_megabytes,
        work.weight_megabytes,
        loops.loops,
        loops.tiles,
        loops.full_steps,
        loops.short_steps,
        loops.single_steps,
        loops.reloaded_megabytes,
        loops.split_megabytes,
        loops.simple_activations,
        loops.costly_activations,
        moved * np.minimum(1.0, np.maximum(0.0, left)),
    ]
    return np.column_stack(columns).reshape(rows.count, len(WORK))


def _feature_columns(rows: KernelRows) -> Floats:
    """In the order of ``FEATURES``."""
    work, loops, count = work_of_rows(rows), loops_of_rows(rows), rows.count
    inputs = known_shapes(rows.inputs)
    source, target = _nchw(inputs[0], count), _nchw(known_shapes(rows.outputs)[0], count)
    window = filter_of_rows(rows)
    moved = _moved_megabytes(work)
    steps = loops.full_steps + loops.short_steps + loops.single_steps
    pixels = target[2] * target[3]
    smallest = np.stack([extent(shape, count) for shape in inputs]).min(axis=0)
    activation = rows.attribute.get("activation", "")
    columns: list[Floats | Ints] = [
        _log1p(work.mega_flops * 1e6),
        _log1p(work.input_megabytes * 1e6),
        _log1p(work.output_megabytes * 1e6),
        _log1p(work.weight_megabytes * 1e6),
        _log1p(_share(work.mega_flops, moved)),
        source[1],
        target[1],
        source[3],
        target[3],
        window[-1] if window else np.zeros(count),
        source[3] / target[3],
        rows.number("group", 1),
        np.full(count, scalar.ACTIVATIONS.get(activation if isinstance(activation, str) else "?", 6)),
        np.full(count, len(rows.inputs) + len(rows.weights)),
        target[1] % 8,
        target[1] % 16,
        _log1p(moved * 1e6),
        _share(work.weight_megabytes, moved),
        _log1p(loops.loops * 1e3),
        _log1p(loops.inner),
        _log1p(loops.tiles * 1e3),
        _share(loops.full_steps, steps),
        _share(loops.single_steps, steps),
        _log1p(smallest),
        _power(pixels),
        _power(source[2] * source[3]),
        _power(target[3]),
        rows.number("transA", 0) + 2 * rows.number("transB", 0),
        _log1p(loops.depth),
        _log1p(pixels),
        -(-target[1] // 16) % 4,
        _log1p(_window(rows)),
    ]
    return np.column_stack(columns).astype(np.float64).reshape(count, len(FEATURES))


def _log1p(values: Floats | Ints) -> Floats:
    """As ``math.log1p`` has it: NumPy's own may differ in the last bit, and at the edge of what was measured that bit
    decides between inside and outside."""
    return np.fromiter(map(math.log1p, values.tolist()), np.float64, len(values))


def _share(part: Floats, whole: Floats) -> Floats:
    """0 where there is nothing to share."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)


def _power(extents: Ints) -> Floats:
    """As ``features._power``: the logarithms of 1, 2, 4, 8 and 16."""
    return np.log2(np.gcd(extents, 16))


def _window(rows: KernelRows) -> Ints:
    value = rows.attribute.get("kernel_shape", "0")
    axes = value.count("x") + 1 if isinstance(value, str) else len(value)
    return extent(rows.numbers("kernel_shape", axes, 0), rows.count)


def _moved_megabytes(work: WorkRows) -> Floats:
    return work.input_megabytes + work.output_megabytes + work.weight_megabytes


def _nchw(shape: Extents, count: int) -> tuple[Ints, Ints, Ints, Ints]:
    """As ``features._nchw``."""
    one = np.ones(count, np.int64)
    if len(shape) >= 4:
        return shape[0], shape[1], shape[2], extent(shape[3:], count)
    if len(shape) == 3:
        return shape[0], shape[2], one, shape[1]
    if len(shape) == 2:
        return shape[0], shape[1], one, one
    return one, shape[0] if shape else one, one, one
