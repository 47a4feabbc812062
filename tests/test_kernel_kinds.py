"""Kinds and classes of kernels: what shares a roofline, under which name, and what leans on whom."""

from __future__ import annotations

import numpy as np
import pytest

from edgecost.costmodels.kernel_work import class_of, is_shallow, kind_among, kind_of, work_of
from edgecost.profiler.kernels.graph import Kernel

Shapes = tuple[tuple[int, ...], ...]


def kernel(
    op: str, inputs: Shapes, weights: Shapes, outputs: Shapes, dtype: str = "float32", **attributes: str
) -> Kernel:
    return Kernel(op, inputs, weights, outputs, tuple(sorted(attributes.items())), dtype)


def test_a_function_fused_into_a_convolution_makes_no_kind_and_older_predictors_keep_theirs() -> None:
    fused = kernel("microsoft.FusedConv", ((1, 3, 8, 8),), ((6, 3, 3, 3),), ((1, 6, 8, 8),), activation="Relu")
    plain = kernel("Conv", ((1, 3, 8, 8),), ((6, 3, 3, 3),), ((1, 6, 8, 8),))
    assert kind_of(fused) == kind_of(plain) == "Conv.spatial"
    assert kind_among(fused, {"Conv.spatial", "microsoft.FusedMatMul"}) == "Conv.spatial"
    assert kind_among(fused, {"microsoft.FusedConv.spatial", "Conv.pointwise"}) == "microsoft.FusedConv.spatial"


def test_what_reads_an_image_is_a_kind_of_its_own_and_older_predictors_take_it_for_any_other_window() -> None:
    stem = kernel("nchwc.Conv", ((1, 3, 64, 64),), ((16, 3, 3, 3),), ((1, 16, 64, 64),))
    few = kernel("nchwc.Conv", ((1, 12, 64, 64),), ((32, 12, 1, 1),), ((1, 32, 64, 64),))
    assert kind_of(few) == "nchwc.Conv.shallow"
    assert kind_among(few, {"nchwc.Conv.pointwise"}) == "nchwc.Conv.pointwise"
    inner = kernel("nchwc.Conv", ((1, 16, 64, 64),), ((16, 16, 3, 3),), ((1, 16, 64, 64),))
    assert (kind_of(stem), kind_of(inner)) == ("nchwc.Conv.shallow", "nchwc.Conv.spatial")
    assert kind_among(stem, {"nchwc.Conv.shallow", "nchwc.Conv.spatial"}) == "nchwc.Conv.shallow"
    assert kind_among(stem, {"nchwc.Conv.spatial"}) == "nchwc.Conv.spatial"
    assert kind_among(stem, {"Gemm"}) == "nchwc.Conv.shallow"


@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_what_is_only_moved_is_of_one_kind_whatever_it_means(dtype: str) -> None:
    moved = kernel("Concat", ((1, 8), (1, 8)), (), ((1, 16),), dtype)
    assert kind_of(moved) == "Concat"
    assert work_of(moved).output_megabytes * 1e6 == 16 * np.dtype(dtype).itemsize
    assert kind_of(kernel("Add", ((1, 8), (1, 8)), (), ((1, 8),), dtype)) == f"Add.{dtype}"


@pytest.mark.parametrize(
    ("op", "weights", "told"),
    [
        ("nchwc.Conv", ((8, 1, 3, 3),), "depthwise"),
        ("Relu", (), "elementwise"),
        ("Transpose", (), "movement"),
        ("MaxPool", (), "windows"),
        ("ReduceSum", (), "reductions"),
        ("Gemm", ((8, 8),), "contractions"),
        ("Mystery", (), "other"),
    ],
)
def test_a_kernel_is_of_a_class(op: str, weights: Shapes, told: str) -> None:
    assert class_of(kernel(op, ((1, 8, 8, 8),), weights, ((1, 8, 8, 8),), group="8")) == told


@pytest.mark.parametrize(
    ("filters", "reads_plain"),
    [
        ((16, 3, 3, 3), True),
        ((32, 8, 3, 3), True),
        ((24, 8, 3, 3), False),
        ((16, 12, 1, 1), True),
        ((16, 16, 3, 3), False),
    ],
)
def test_filters_that_are_not_padded_to_a_block_read_the_plain_layout(
    filters: tuple[int, ...], reads_plain: bool
) -> None:
    convolution = kernel("nchwc.Conv", ((1, filters[1], 16, 16),), (filters,), ((1, filters[0], 16, 16),))
    assert is_shallow(convolution, filters) == reads_plain
