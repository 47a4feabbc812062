"""Arrays of kernels against the scalar functions, which are the oracle: the same bits, whatever the sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.features import feature_matrix, work_matrix
from edgecost.costmodels.kernel_arrays.features import feature_rows, work_rows
from edgecost.costmodels.kernel_arrays.kinds import kinds_of_rows
from edgecost.costmodels.kernel_arrays.prices import RowPricer
from edgecost.costmodels.kernel_arrays.rows import rows_of
from edgecost.costmodels.kernel_arrays.work import ARRAY_OPERATORS, has_arrays
from edgecost.costmodels.kernel_work import kind_among
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.kernels.graph import Kernel

Law = Callable[..., object]
SIZES = st.one_of(st.integers(1, 40), st.integers(1, 70).map(lambda n: 16 * n))
SIDES = st.integers(1, 40)
DTYPES = st.sampled_from(("float32", "float16", "int8"))


@st.composite
def convolutions(draw: st.DrawFn, op: str) -> Kernel:
    """Any convolution: dense, depthwise or in groups, with any window, stride, dilation and padding."""
    window, stride, dilation = (
        draw(st.sampled_from((1, 1, 2, 3, 5, 7))),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
    )
    pads = [draw(st.integers(0, window)) for _ in range(4)]
    reach = dilation * (window - 1) + 1
    sides = [draw(st.integers(max(1, reach - pads[axis] - pads[axis + 2]), 40)) for axis in range(2)]
    made = tuple((sides[axis] + pads[axis] + pads[axis + 2] - reach) // stride + 1 for axis in range(2))
    into, out = draw(SIZES), draw(SIZES)
    group = draw(st.sampled_from((1, 1, into)))
    out = into if group > 1 else out
    notes = {
        "group": str(group), "kernel_shape": f"{window}x{window}", "strides": f"{stride}x{stride}",
        "dilations": f"{dilation}x{dilation}", "pads": "x".join(map(str, pads)), "activation": "HardSwish",
    }  # fmt: skip
    filter_shape = (out, into // group, window, window)
    weights = (filter_shape, (out,))
    return Kernel(op, ((1, into, *sides),), weights, ((1, out, *made),), tuple(sorted(notes.items())))


@st.composite
def others(draw: st.DrawFn, op: str) -> Kernel:
    """Reorders, pools and functions on each element, with an operand that is repeated."""
    shape = (1, draw(SIZES), draw(SIDES), draw(SIDES))
    made, inputs, notes = shape, (shape,), ()
    if op in ("nchwc.ReorderInput", "nchwc.ReorderOutput"):
        made = (1, draw(SIZES), *shape[2:])
        notes = (("channels", str(made[1])), ("channels_last", "0"))
        notes = notes[1:] if op.endswith("Input") else notes
    elif "Pool" in op:
        made = (*shape[:2], 1, 1)
    elif op in ("Mul", "Add"):
        other = draw(st.sampled_from([shape, (*shape[:2], 1, 1), (1, 1, *shape[2:]), (1,), (shape[3],)]))
        inputs = (shape, other)
    elif op == "Transpose":
        notes = (("perm", "0x2x1x3"),)
        made = (shape[0], shape[2], shape[1], shape[3])
    return Kernel(op, inputs, (), (made,), notes)


CONVOLUTIONS = ["nchwc.Conv", "Conv", "microsoft.FusedConv", "nhwc.Conv"]
OTHERS = [
    "nchwc.ReorderInput", "nchwc.ReorderOutput", "nchwc.GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool", "Mul",
    "Add", "Sub", "Div", "Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "LeakyRelu", "Swish",
    "microsoft.QuickGelu", "Gelu", "Transpose", "Concat", "Reshape", "Softmax",
]  # fmt: skip


def by_structure(kernels: Sequence[Kernel]) -> list[list[Kernel]]:
    """Kernels that ``rows_of`` can put side by side."""
    found = defaultdict(list)
    for kernel in kernels:
        ranks = tuple(len(shape) for side in (kernel.inputs, kernel.weights, kernel.outputs) for shape in side)
        names = tuple((name, value.count("x")) for name, value in kernel.attributes)
        found[(ranks, names)].append(kernel)
    return list(found.values())


def check(kernels: Sequence[Kernel]) -> None:
    for group in by_structure(kernels):
        rows = rows_of(group)
        assert rows.kernels() == list(group)
        assert rows.hashes() == [kernel.kernel_hash for kernel in group]
        np.testing.assert_array_equal(feature_rows(rows), feature_matrix(group))
        np.testing.assert_array_equal(work_rows(rows, 1 << 19), work_matrix(group, 1 << 19))
        kinds, place = kinds_of_rows(rows, ())
        assert [kinds[one] for one in place] == [kind_among(kernel, ()) for kernel in group]


@pytest.mark.parametrize("op", CONVOLUTIONS)
def test_convolutions_in_arrays_are_those_one_by_one(op: str) -> None:
    @given(st.lists(convolutions(op), min_size=1, max_size=8), DTYPES)
    def hold(kernels: list[Kernel], dtype: str) -> None:
        check([replace(kernel, dtype=dtype) for kernel in kernels])

    hold()


@pytest.mark.parametrize("op", OTHERS)
def test_other_kernels_in_arrays_are_those_one_by_one(op: str) -> None:
    @given(st.lists(others(op), min_size=1, max_size=8), DTYPES)
    def hold(kernels: list[Kernel], dtype: str) -> None:
        check([replace(kernel, dtype=dtype) for kernel in kernels])

    hold()


def test_every_operator_that_has_arrays_is_tried_here() -> None:
    tried = {name.rpartition(".")[2] for name in (*CONVOLUTIONS, *OTHERS)}
    assert tried >= ARRAY_OPERATORS


def test_the_kernels_of_real_cells_have_arrays_and_the_same_numbers(cell_graphs: list[tuple[Kernel, ...]]) -> None:
    kernels = list({kernel for graph in cell_graphs for kernel in graph})
    by_op = defaultdict(list)
    for kernel in kernels:
        texts = tuple(value for name, value in kernel.attributes if name in ("activation", "activation_params"))
        by_op[(kernel.op, kernel.dtype, texts)].append(kernel)
    for group in by_op.values():
        check(group)
    without = {kernel.op for kernel in kernels if not has_arrays(rows_of([kernel]))}
    assert without <= {"microsoft.FusedGemm", "Gemm", "Reshape", "Flatten", "Squeeze"}


def test_prices_of_arrays_are_those_of_the_predictor(cell_graphs: list[tuple[Kernel, ...]], law: Law) -> None:
    half = len(cell_graphs) // 2
    measured = law.measured_ms(cell_graphs[:half], seed=0)  # type: ignore[attr-defined]
    alone = [(graph[0],) * 2 for graph in cell_graphs[:20]]
    graphs = [*cell_graphs[:half], *alone]
    latency = [*measured, *law.measured_ms(alone, seed=1)]  # type: ignore[attr-defined]
    predictor = LatencyPredictor(rounds=40).fit(graphs, latency)
    pricer = RowPricer(predictor)
    kernels = list({kernel for graph in cell_graphs for kernel in graph})
    groups = defaultdict(list)
    for kernel in kernels:
        texts = tuple(value for name, value in kernel.attributes if name in ("activation", "activation_params"))
        groups[(kernel.op, texts)].append(kernel)
    sources = set()
    for some in groups.values():
        for group in by_structure(some):
            found = pricer.price(rows_of(group))
            wanted = [price.kernels[0] for price in predictor.price([[kernel] for kernel in group])]
            np.testing.assert_allclose(found.latency_ms, [one.latency_ms for one in wanted], rtol=1e-14)
            np.testing.assert_allclose(
                found.latency_ms * np.exp(found.reach), [one.hi_ms for one in wanted], rtol=1e-12
            )
            assert found.is_outside.tolist() == [one.source == "predicted" for one in wanted]
            sources.update(one.source for one in wanted)
    assert sources == {"measured", "interpolated", "predicted"}
