"""How kernels walk over their data, against walks worked out by hand and by counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.features import FEATURES, WORK, feature_matrix, work_matrix
from edgecost.costmodels.kernel_loops import _axis, loops_of
from edgecost.costmodels.kernel_work import work_of
from edgecost.profiler.kernels.graph import Kernel


def blocked(
    source: tuple[int, ...], window: tuple[int, ...], target: tuple[int, ...], group: int = 1, **notes: str
) -> Kernel:
    attributes = {"group": str(group), **notes}
    return Kernel("nchwc.Conv", (source,), (window, window[:1]), (target,), tuple(sorted(attributes.items())))


def test_a_depthwise_row_is_two_tiles_and_two_borders() -> None:
    kernel = blocked((1, 32, 14, 14), (32, 1, 3, 3), (1, 32, 14, 14), 32, pads="1x1x1x1", strides="1x1")
    loops = loops_of(kernel)
    # Twelve rows see three rows of the window, two see two; two blocks of sixteen channels; three places in a row.
    steps = 2 * (12 * 3 + 2 * 2) * 3
    assert loops.full_steps * 1e6 == pytest.approx(12 * steps)
    assert loops.single_steps * 1e6 == pytest.approx(2 * steps)
    assert loops.short_steps == 0
    assert loops.loops * 1e3 == pytest.approx(2 * 14)
    assert loops.tiles * 1e3 == pytest.approx(2 * 14 * 4)
    assert loops.depth == 9


def test_a_pointwise_map_is_one_row_without_borders() -> None:
    loops = loops_of(blocked((1, 256, 7, 7), (64, 256, 1, 1), (1, 64, 7, 7)))
    # 49 pixels: eight tiles of six, and one left over; 256 channels are summed in two turns.
    assert loops.loops * 1e3 == pytest.approx(2)
    assert loops.tiles * 1e3 == pytest.approx(2 * 9)
    assert loops.full_steps * 1e6 == pytest.approx(48 * 256 * 4)
    assert loops.single_steps * 1e6 == pytest.approx(1 * 256 * 4)
    assert loops.reloaded_megabytes * 1e6 == pytest.approx(4 * 64 * 49)


def test_channels_that_fill_no_set_of_vectors_are_short_steps() -> None:
    whole = loops_of(blocked((1, 64, 6, 6), (64, 64, 1, 1), (1, 64, 6, 6)))
    short = loops_of(blocked((1, 64, 6, 6), (80, 64, 1, 1), (1, 80, 6, 6)))
    assert whole.short_steps == 0
    assert short.full_steps == whole.full_steps
    assert short.short_steps > 0


@given(
    st.integers(1, 3).map(lambda n: 64 * n), st.integers(1, 4).map(lambda n: 16 * n), st.integers(1, 5),
    st.integers(5, 30), st.integers(1, 2),
)  # fmt: skip
def test_without_padding_the_steps_are_the_multiply_adds(out: int, into: int, window: int, side: int, stride: int):
    made = (side - window) // stride + 1
    kernel = blocked(
        (1, into, side, side), (out, into, window, window), (1, out, made, made),
        strides=f"{stride}x{stride}", kernel_shape=f"{window}x{window}",
    )  # fmt: skip
    loops = loops_of(kernel)
    steps = loops.full_steps + loops.short_steps + loops.single_steps
    assert steps * 16 == pytest.approx(work_of(kernel).mega_flops / 2)


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2))
def test_an_axis_is_what_counting_its_windows_gives(read: int, window: int, stride: int, padding: int, dilation: int):
    reach = dilation * (window - 1) + 1
    if read + 2 * padding < reach or padding >= reach:
        return
    made = (read + 2 * padding - reach) // stride + 1
    begins = [place * stride - padding for place in range(made)]
    inside = [begin >= 0 and begin + reach <= read for begin in begins]
    hits = sum(0 <= begin + step * dilation < read for begin in begins for step in range(window))
    found = _axis(read, made, window, stride, padding, dilation)
    assert (found.before + found.inside + found.behind, found.hits) == (made, hits)
    assert found.inside == sum(inside)


def test_a_product_of_one_row_is_a_vector_times_a_matrix() -> None:
    row = loops_of(Kernel("Gemm", ((1, 1280),), ((1280, 1000),), ((1, 1000),)))
    rows = loops_of(Kernel("MatMul", ((1, 25, 64),), ((64, 128),), ((1, 25, 128),)))
    assert (row.full_steps, row.short_steps) == (0.0, 0.0)
    assert row.single_steps * 1e6 == pytest.approx(1280 * 63)
    assert rows.full_steps * 1e6 == pytest.approx(24 * 64 * 8)
    assert rows.short_steps * 1e6 == pytest.approx(1 * 64 * 8)
    assert rows.reloaded_megabytes == 0


def test_a_factor_that_is_no_constant_is_packed_first() -> None:
    loops = loops_of(Kernel("MatMul", ((1, 4, 20, 64), (1, 4, 64, 20)), (), ((1, 4, 20, 20),)))
    assert loops.reloaded_megabytes * 1e6 == pytest.approx(4 * 4 * 64 * 20)


@pytest.mark.parametrize(
    ("kernel", "spans", "inner"),
    [
        (Kernel("Mul", ((1, 8, 4, 4), (1, 8, 1, 1)), (), ((1, 8, 4, 4),)), 8, 16),
        (Kernel("Add", ((1, 8, 4, 4), (1, 8, 4, 4)), (), ((1, 8, 4, 4),)), 1, 128),
        (Kernel("Add", ((1, 10, 64),), ((64,),), ((1, 10, 64),)), 10, 64),
        (Kernel("Softmax", ((1, 3, 10, 20),), (), ((1, 3, 10, 20),)), 30, 20),
        (Kernel("Concat", ((1, 8, 4, 4), (1, 8, 4, 4)), (), ((1, 16, 4, 4),), (("axis", "1"),)), 1, 256),
        (Kernel("Transpose", ((1, 5, 10, 80),), (), ((1, 10, 5, 80),), (("perm", "0x2x1x3"),)), 50, 80),
        (Kernel("Transpose", ((1, 5, 10, 80),), (), ((1, 5, 80, 10),), (("perm", "0x1x3x2"),)), 4000, 1),
    ],
    ids=["channels", "same", "bias", "softmax", "concat", "rows moved", "elements moved"],
)  # fmt: skip
def test_what_lies_side_by_side_is_one_span(kernel: Kernel, spans: int, inner: int) -> None:
    loops = loops_of(kernel)
    assert (loops.loops * 1e3, loops.inner) == (pytest.approx(spans), pytest.approx(inner))


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel("Relu", (), (), ()),
        Kernel("Transpose", ((2, 3),), (), ((3, 2),)),
        Kernel("Mul", (None, (1, 8)), (), (None,)),
        Kernel("nchwc.Conv", (), ((8, 8, 3, 3),), ((1, 8, 4, 4),)),
        Kernel("Concat", ((2,), (3,)), (), ((5,),), (("axis", "0"),)),
        Kernel("Gemm", ((4,),), (), ((4,),)),
    ],
)
def test_odd_kernels_walk_somehow(kernel: Kernel) -> None:
    loops = loops_of(kernel)
    assert loops.loops > 0
    assert min(loops.inner, loops.tiles, loops.full_steps, loops.single_steps) >= 0


def test_data_leave_the_cache_gradually() -> None:
    place = WORK.index("beyond_core_megabytes")
    sizes = [64, 256, 512, 1024, 4096]
    graph = [Kernel("Relu", ((1, size, 32, 32),), (), ((1, size, 32, 32),)) for size in sizes]
    beyond = work_matrix(graph, 1 << 22)[:, place]
    moved = [8 * size * 1024 / 1e6 for size in sizes]
    assert beyond[0] == beyond[1] == 0
    assert 0 < beyond[2] < moved[2]
    assert beyond[4] == pytest.approx(moved[4])
    assert (work_matrix(graph, 1 << 30)[:, place] == 0).all()


def test_equal_kernels_have_equal_rows_wherever_they_stand() -> None:
    kernel = blocked((1, 32, 14, 14), (32, 1, 3, 3), (1, 32, 14, 14), 32)
    other = Kernel("Add", ((1, 8), (1, 8)), (), ((1, 8),))
    rows = feature_matrix([kernel, other, kernel])
    assert rows.shape == (3, len(FEATURES))
    assert (rows[0] == rows[2]).all()
    assert (rows[0] != rows[1]).any()


def test_a_recurrence_projects_all_tokens_and_then_walks_them_one_by_one() -> None:
    tokens, width, hidden = 10, 32, 64
    kernel = Kernel(
        "LSTM", ((tokens, 1, width),), ((1, 4 * hidden, width), (1, 4 * hidden, hidden)), ((tokens, 1, 1, hidden),)
    )
    found = loops_of(kernel)
    assert found.loops * 1e3 == tokens
    assert found.full_steps * 1e6 == pytest.approx(tokens * 4 * hidden * width / 16)
    assert found.single_steps * 1e6 == pytest.approx(tokens * 4 * hidden * hidden / 16)
