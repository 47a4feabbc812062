"""The roofline finds the law that made the sums."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.features import WORK
from edgecost.costmodels.roofline import Roofline, _non_negative, fit_roofline

KINDS = ("a", "b", "c")
#: Calls, operations and bytes; what follows are loops.
PLAIN = 5


def sums(seed: int, graphs: int = 60, kernels: int = 5) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Random graphs and the coefficients behind them, some of them zero."""
    rng = np.random.default_rng(seed)
    kinds = [KINDS[i] for i in rng.integers(0, len(KINDS), graphs * kernels)]
    work = np.column_stack([np.ones(graphs * kernels), rng.lognormal(0, 1, (graphs * kernels, len(WORK) - 1))])
    graph = np.repeat(np.arange(graphs), kernels)
    truth = rng.lognormal(-3, 1, (len(KINDS), len(WORK))) * (rng.random((len(KINDS), len(WORK))) < 0.8)
    truth[:, 0] += 0.01
    return kinds, work, graph, truth


def latency(kinds: list[str], work: np.ndarray, graph: np.ndarray, truth: np.ndarray) -> np.ndarray:
    price = (truth[[KINDS.index(kind) for kind in kinds]] * work).sum(axis=1)
    return np.bincount(graph, price)


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_are_recovered_from_sums(seed: int) -> None:
    kinds, work, graph, truth = sums(seed)
    work[:, PLAIN:] = 0.0
    found = fit_roofline(kinds, work, graph, latency(kinds, work, graph, truth))
    assert found.kinds == KINDS
    np.testing.assert_allclose(found.coefficients[:, :PLAIN], truth[:, :PLAIN], atol=0.01 * truth.max())
    assert (found.coefficients[:, PLAIN:] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_loops_that_cost_are_found_though_they_are_held_back(seed: int) -> None:
    kinds, work, graph, truth = sums(seed, graphs=600)
    measured = latency(kinds, work, graph, truth)
    found = fit_roofline(kinds, work, graph, measured)
    error = np.abs(np.bincount(graph, found.price(kinds, work)) / measured - 1)
    assert np.quantile(error, 0.9) < 0.03


def test_what_no_kernel_tells_apart_is_the_calls() -> None:
    """Each starts one loop; then one comes that starts a thousand."""
    loops, random = WORK.index("thousand_loops"), np.random.default_rng(0)
    work = np.zeros((40, len(WORK)))
    work[:, 0], work[:, loops], work[:, 3] = 1.0, 1e-3, random.uniform(0.0, 1.0, 40)
    found = fit_roofline(["a"] * 40, work, np.arange(40), 0.002 + 0.05 * work[:, 3])
    many = work[:1].copy()
    many[0, loops] = 1.0
    assert found.price(["a"], many)[0] < 0.01 + 2 * found.price(["a"], work[:1])[0]


@pytest.mark.parametrize("disturbed", [0.0, 0.1])
def test_a_tenth_that_follows_no_law_does_not_bend_it(disturbed: float) -> None:
    kinds, work, graph, truth = sums(3, graphs=300, kernels=1)
    measured = latency(kinds, work, graph, truth)
    random = np.random.default_rng(4)
    spoilt = np.where(random.random(300) < disturbed, measured * 3.0, measured)
    found = fit_roofline(kinds, work, graph, spoilt)
    error = np.abs(found.price(kinds, work) / measured - 1)
    assert np.median(error) < 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_no_coefficient_is_negative_whatever_was_measured(seed: int) -> None:
    kinds, work, graph, _ = sums(seed, graphs=12)
    noise = np.random.default_rng(seed).lognormal(0, 2, 12)
    found = fit_roofline(kinds, work, graph, noise)
    assert (found.coefficients >= 0).all()
    assert (found.price(kinds, work) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_a_device_that_is_slower_by_a_factor_has_coefficients_larger_by_it(seed: int, factor: float) -> None:
    kinds, work, graph, truth = sums(seed)
    measured = latency(kinds, work, graph, truth)
    one, other = (fit_roofline(kinds, work, graph, scale * measured) for scale in (1.0, factor))
    scale = one.coefficients.max()
    np.testing.assert_allclose(other.coefficients / factor / scale, one.coefficients / scale, atol=1e-6)


def test_graphs_in_another_order_give_the_same_roofline() -> None:
    kinds, work, graph, truth = sums(1)
    measured = latency(kinds, work, graph, truth)
    order = np.random.default_rng(0).permutation(len(kinds))
    moved = fit_roofline([kinds[i] for i in order], work[order], graph[order], measured)
    np.testing.assert_allclose(moved.coefficients, fit_roofline(kinds, work, graph, measured).coefficients, atol=1e-9)


def test_work_that_is_always_the_same_is_settled_by_the_ridge() -> None:
    found = fit_roofline(["a"] * 4, np.ones((4, len(WORK))), np.arange(4), np.full(4, 5.0))
    assert found.price(["a"], np.ones((1, len(WORK))))[0] == pytest.approx(5.0, rel=1e-4)


def test_half_of_the_graphs_are_above_their_price_however_noisy_they_are() -> None:
    kinds, work, graph, truth = sums(3)
    noisy = latency(kinds, work, graph, truth) * np.random.default_rng(3).lognormal(0, 0.5, 60)
    found = np.bincount(graph, fit_roofline(kinds, work, graph, noisy).price(kinds, work))
    assert np.median(found / noisy) == pytest.approx(1.0)


def test_a_kind_without_work_still_has_a_positive_price() -> None:
    free = Roofline(("a",), np.zeros((1, len(WORK))))
    assert free.price(["a"], np.ones((1, len(WORK))))[0] > 0


def test_an_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="z"):
        Roofline(("a",), np.zeros((1, len(WORK)))).price(["z"], np.ones((1, len(WORK))))


def test_json_brings_back_every_bit() -> None:
    kinds, work, graph, truth = sums(2)
    made = fit_roofline(kinds, work, graph, latency(kinds, work, graph, truth))
    back = Roofline.from_json(json.loads(json.dumps(made.to_json())))
    assert back.kinds == made.kinds
    np.testing.assert_array_equal(back.coefficients, made.coefficients)


def test_what_a_rare_kind_leaves_open_its_class_settles() -> None:
    rng = np.random.default_rng(0)
    work = np.zeros((41, len(WORK)))
    work[:, 0], work[:, 2] = 1.0, rng.uniform(0.1, 2.0, 41)
    latency = 0.002 + 0.05 * work[:, 2]
    kinds = ["common"] * 40 + ["rare"]
    # One kernel says what a call and its bytes cost together, not which of the two.
    alone = fit_roofline(kinds, work, np.arange(41), latency)
    helped = fit_roofline(kinds, work, np.arange(41), latency, ["moves"] * 41)
    larger = np.zeros((1, len(WORK)))
    larger[0, 0], larger[0, 2] = 1.0, 20.0
    truth = 0.002 + 0.05 * 20.0
    off = [abs(model.price(["rare"], larger)[0] / truth - 1) for model in (alone, helped)]
    assert off[1] < 0.02 < off[0]
    assert helped.price(["common"], work[:1]) == pytest.approx(alone.price(["common"], work[:1]), rel=1e-3)


def test_a_kernel_has_the_same_price_to_the_last_bit_alone_and_among_others() -> None:
    kinds, work, _, truth = sums(0)
    made = Roofline(KINDS, truth, WORK)
    whole = made.price(kinds, work)
    laid_otherwise = made.price(kinds, np.asfortranarray(work))
    alone = [made.price([kind], row[None, :])[0] for kind, row in zip(kinds, work, strict=True)]
    assert whole.tolist() == alone == laid_otherwise.tolist()


@pytest.mark.parametrize(("seed", "rows"), [(247, 26), (1110, 35), (3040, 31)])
def test_equations_that_take_more_steps_than_usual_are_solved_all_the_same(seed: int, rows: int) -> None:
    # Columns of few values, rows whose weights differ by powers of ten: SciPy's own limit ends before the method does.
    rng, columns = np.random.default_rng(seed), 38
    assert rng.integers(20, 41) == rows
    design = rng.integers(0, 3, (rows, columns)).astype(float)
    weights = np.exp(rng.normal(0, rng.choice([0, 3, 10]), rows))
    ridge = np.where(rng.random(columns) < 0.7, 1e-3, 0.05)
    gram, moments = design.T @ (design * weights[:, None]), design.T @ weights
    found = _non_negative(gram, moments, ridge)
    # Karush, Kuhn and Tucker: none negative, and no slope but where a bound holds.
    scale = np.sqrt(np.diag(gram))
    slope = (gram / np.outer(scale, scale) + np.diag(ridge**2)) @ (found * scale) - moments / scale
    assert (found >= 0).all()
    assert (slope >= -1e-6 * np.abs(moments / scale).max()).all()
    assert np.abs(slope[found > 0]).max() <= 1e-6 * np.abs(moments / scale).max()
