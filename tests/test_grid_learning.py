"""Learnt kernels against the runtime's optimiser, which is the oracle; and optimisers that are hard to learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgecost.costmodels.grids import pricing
from edgecost.costmodels.grids.cells import Cells, Part
from edgecost.costmodels.grids.fill import asks
from edgecost.costmodels.grids.forms import in_order
from edgecost.costmodels.grids.grid_file import read_grid
from edgecost.costmodels.grids.learning import Learnt, learn
from edgecost.costmodels.grids.pricing import GridPricer
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.records import RuntimeProfile

Law = Callable[..., object]

#: Layouts change with channels modulo 4 and 16, with and without squeeze-and-excitation, and with the shortcut.
ANY_CHANNELS = """
name = "any channels"
[[cells]]
block = "inverted_residual"
resolution = [1, 7, 14]
channels = [3, 12, 16, 20, 22, 32]
out = [8, 16, 20, 21]
mid = { from = 1, to_input = 4 }
kernel = [1, 3]
stride = [1, 2]
squeeze = [0, 0.25]
act = "hard_swish"
"""


def drawn(part: Part, count: int, seed: int) -> Cells:
    return part.cells(np.unique(np.random.default_rng(seed).integers(part.size, size=count)))


def differing(learnt: Learnt, cells: Cells, ask: Callable[[Cells, int], tuple[Kernel, ...]]) -> list[str]:
    """Keys of the cells of which something else was learnt than the optimiser says."""
    found, families = [], cells.families
    for number in np.unique(families).tolist():
        for leaf, chosen in learnt.families[number].tree.leaves(cells.sizes, np.flatnonzero(families == number)):
            sizes = {name: one[chosen] for name, one in cells.sizes.items()}
            columns = [form.rows(sizes, len(chosen)).kernels() for form in leaf.forms or ()]
            for kernels, place in zip(zip(*columns, strict=True), chosen.tolist(), strict=False):
                found += [cells.cell(place).key] if kernels != in_order(ask(cells, place)) else []
    return found


def share_known(learnt: Learnt, cells: Cells) -> float:
    """Of cells whose kernels need not be asked for."""
    known, families = 0, cells.families
    for number in np.unique(families).tolist():
        for leaf, chosen in learnt.families[number].tree.leaves(cells.sizes, np.flatnonzero(families == number)):
            known += len(chosen) if leaf.forms is not None else 0
    return known / cells.count


@pytest.fixture(scope="module")
def any_channels() -> Part:
    return read_grid(ANY_CHANNELS, "any.toml").parts[0]


@pytest.fixture(scope="module")
def learnt(any_channels: Part, profile: RuntimeProfile) -> Learnt:
    return learn(any_channels, asks(profile))


@pytest.mark.parametrize("seed", range(3))
def test_kernels_of_random_cells_are_those_of_the_optimiser(
    any_channels: Part, learnt: Learnt, profile: RuntimeProfile, seed: int
) -> None:
    cells = drawn(any_channels, 150, seed)
    assert differing(learnt, cells, asks(profile)) == []
    assert share_known(learnt, cells) > 0.97


def test_every_table_of_blocks_is_learnt(profile: RuntimeProfile) -> None:
    grid = read_grid(
        """
        name = "others"
        [[cells]]
        block = "conv"
        resolution = [7, 14, 28]
        channels = [3, 8, 16, 24]
        out = { from = 4, to = 40, step = 4 }
        kernel = [1, 3]
        act = ["", "relu6"]
        [[cells]]
        block = "inverted_residual"
        resolution = [7, 14, 28]
        channels = [8, 16, 24]
        out = [16, 24]
        mid = { from = 16, to = 96, step = 8 }
        kernel = 3
        groups = [1, 4]
        [[cells]]
        block = "pooled_linear"
        resolution = [4, 7]
        channels = { from = 8, to = 64, step = 8 }
        out = { from = 10, to = 20 }
        [[cells]]
        block = "linear"
        channels = { from = 8, to = 64, step = 8 }
        out = { from = 10, to = 20 }
        [[cells]]
        block = "global_pool"
        resolution = { from = 2, to = 15 }
        channels = { from = 8, to = 64, step = 8 }
        [[cells]]
        block = "se_res2"
        length = [100, 200]
        channels = { from = 16, to = 128, step = 8 }
        out = { from = 16, to = 128, step = 8 }
        mid = { from = 16, to = 128, step = 8 }
        kernel = [1, 3]
        squeeze = 32
        [[cells]]
        block = "osa"
        resolution = [7, 14]
        channels = { from = 16, to = 64, step = 8 }
        inner = { from = 16, to = 64, step = 8 }
        out = { from = 16, to = 128, step = 8 }
        layers = 3
        [[cells]]
        block = "self_attention"
        length = { from = 10, to = 50 }
        channels = [64, 128]
        heads = [2, 4]
        head_size = [16, 32]
        """,
        "others.toml",
    )
    ask = asks(profile)
    assert len(grid.parts) == 8
    for part in grid.parts:
        known = learn(part, ask)
        cells = drawn(part, 60, 0)
        assert differing(known, cells, ask) == []
        assert share_known(known, cells) == 1.0


CONVS = """
name = "convs"
[[cells]]
block = "conv"
resolution = [7, 14]
channels = { from = 1, to = 200 }
out = { from = 1, to = 200 }
kernel = [3]
"""


def convolution(cells: Cells, place: int) -> Kernel:
    one = {name: int(column[place]) for name, column in cells.sizes.items()}
    shape, made = (1, one["channels"], 7, 7), (1, one["out"], 7, 7)
    return Kernel("Conv", (shape,), ((one["out"], one["channels"], 3, 3), (one["out"],)), (made,), (("group", "1"),))


def test_a_law_of_channels_by_eight_and_limits_is_found() -> None:
    def ask(cells: Cells, place: int) -> tuple[Kernel, ...]:
        kernel = convolution(cells, place)
        channels, out = kernel.weights[0][1], kernel.weights[0][0]
        before = Kernel("Reorder", kernel.inputs, (), kernel.inputs)
        return (before, kernel) if channels % 8 == 0 and out >= 16 else (kernel,)

    grid = read_grid(CONVS, "convs.toml").parts[0]
    known = learn(grid, ask)
    cells = drawn(grid, 2000, 1)
    assert differing(known, cells, ask) == []
    assert share_known(known, cells) == 1.0
    assert known.unsure == 0


def test_what_follows_no_law_is_asked_cell_by_cell(law: Law, cell_graphs: list[tuple[Kernel, ...]]) -> None:
    def ask(cells: Cells, place: int) -> tuple[Kernel, ...]:
        kernel = convolution(cells, place)
        # As good as at random, but the same each time.
        return (kernel,) * (1 + (kernel.weights[0][1] * 7919 + kernel.weights[0][0] * 104729) % 97 % 2)

    grid = read_grid(CONVS.replace("200", "40"), "convs.toml").parts[0]
    known = learn(grid, ask)
    cells = drawn(grid, 300, 1)
    assert differing(known, cells, ask) == []
    assert share_known(known, cells) < 0.5
    graphs = [(kernel,) for kernel in {kernel for graph in cell_graphs[:150] for kernel in graph}]
    # The plain convolution is a kind that has to be known.
    graphs += [ask(cells, place) for place in range(20)]
    predictor = LatencyPredictor(rounds=20).fit(graphs, law.measured_ms(graphs, seed=0))  # type: ignore[attr-defined]
    pricer = GridPricer(predictor, known, grid.limits, ask)
    found = pricer.price(cells)
    wanted = predictor.price([ask(cells, place) for place in range(cells.count)])
    np.testing.assert_allclose(found.latency_ms, [price.total_ms for price in wanted], rtol=1e-12)
    assert pricer.asked == round((1 - share_known(known, cells)) * cells.count)


def test_one_odd_cell_among_thousands_is_found_where_a_pair_of_classes_tells_it() -> None:
    def ask(cells: Cells, place: int) -> tuple[Kernel, ...]:
        kernel = convolution(cells, place)
        return (kernel,) * 2 if kernel.weights[0][:2] == (1, 2) else (kernel,)

    grid = read_grid(CONVS, "convs.toml").parts[0]
    known = learn(grid, ask)
    # Too few cells to learn from: they are asked, and not guessed.
    cells = drawn(grid, 80_000, 3)
    odd = np.flatnonzero((cells.columns["out"] == 1) & (cells.columns["channels"] == 2))
    assert len(odd)
    assert differing(known, cells.take(odd), ask) == []


@pytest.fixture(scope="module")
def predictor(law: Law, any_channels: Part, profile: RuntimeProfile) -> LatencyPredictor:
    cells, ask = drawn(any_channels, 250, 9), asks(profile)
    graphs = [ask(cells, place) for place in range(cells.count)]
    graphs += [(kernel,) for kernel in dict.fromkeys(kernel for graph in graphs[:40] for kernel in graph)]
    return LatencyPredictor(rounds=60).fit(graphs, law.measured_ms(graphs, seed=0))  # type: ignore[attr-defined]


@pytest.mark.parametrize("limits", [{}, {"_KNOWN_MAX": 50}, {"_CODE_MAX": 1 << 12}])
def test_prices_of_random_cells_are_those_of_the_slow_way(
    any_channels: Part, learnt: Learnt, predictor: LatencyPredictor, profile: RuntimeProfile, monkeypatch, limits
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(pricing, name, value)
    ask = asks(profile)
    pricer = GridPricer(predictor, learnt, any_channels.limits, ask)
    for seed in (5, 6):
        cells = drawn(any_channels, 80, seed)
        found = pricer.price(cells)
        wanted = predictor.price([ask(cells, place) for place in range(cells.count)])
        has_price = np.array([not price.is_lower_bound for price in wanted])
        assert np.array_equal(~np.isnan(found.latency_ms), has_price)
        for name, values in (
            ("latency_ms", [price.total_ms for price in wanted]),
            ("lo_ms", [price.lo_ms for price in wanted]),
            ("hi_ms", [price.hi_ms for price in wanted]),
        ):
            expected = np.array(values, np.float64)[has_price]
            np.testing.assert_allclose(getattr(found, name)[has_price], expected, rtol=1e-12)
        outside = [any(kernel.source == "predicted" for kernel in price.kernels) for price in wanted]
        told = np.array(pricing.SOURCES)[found.source]
        sources = ["extrapolated" if one else "predicted" for one in outside]
        assert told[has_price].tolist() == np.array(sources)[has_price].tolist()
        assert set(told[~has_price].tolist()) <= {"unsupported"}


def test_kernels_that_are_known_are_not_priced_again(
    any_channels: Part, learnt: Learnt, predictor: LatencyPredictor, profile: RuntimeProfile
) -> None:
    pricer = GridPricer(predictor, learnt, any_channels.limits, asks(profile))
    cells = drawn(any_channels, 3000, 7)
    first = pricer.price(cells)
    priced = pricer.kernels
    assert priced < 5 * cells.count
    again = pricer.price(cells)
    assert pricer.kernels == priced
    np.testing.assert_array_equal(first.latency_ms, again.latency_ms)


def test_families_that_were_never_met_are_asked(
    any_channels: Part, predictor: LatencyPredictor, profile: RuntimeProfile
) -> None:
    ask = asks(profile)
    pricer = GridPricer(predictor, Learnt(), any_channels.limits, ask)
    cells = drawn(any_channels, 10, 8)
    found = pricer.price(cells)
    assert pricer.asked == cells.count
    assert not np.isnan(found.latency_ms).all()
