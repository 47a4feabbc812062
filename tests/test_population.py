"""Populations against the predictor one network at a time: the same totals, intervals and lower bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.population import Population, PopulationPricer
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel

STRANGER = Kernel("Mystery", ((1, 8),), (((1 << 22), 3),), ((1, 8),))
SHAPELESS = Kernel("Add", ((1, 8), None), (), ((1, 8),))
#: So small a cache that networks of a few kernels have weights and activations beyond it.
CACHE_BYTES = 4096


@pytest.fixture(scope="module")
def fitted(cell_graphs, law) -> LatencyPredictor:
    blocks = cell_graphs[:60]
    networks = [tuple(k for g in cell_graphs[i : i + 8] for k in g) for i in range(0, 120, 8)]
    latency = [*law.true_ms(blocks), *(1.2 * law.true_ms(networks) * np.linspace(0.95, 1.05, len(networks)))]
    made = LatencyPredictor(rounds=30)
    marks = [False] * 60 + [True] * len(networks)
    return made.fit([*blocks, *networks], latency, is_network=marks, core_cache_bytes=CACHE_BYTES)


@pytest.fixture(scope="module")
def pool(cell_graphs) -> list[Kernel]:
    return [*dict.fromkeys(kernel for graph in cell_graphs for kernel in graph), STRANGER, SHAPELESS]


def assert_priced_alike(pricer: PopulationPricer, graphs, alpha: float, network: bool) -> None:
    found = pricer.price(Population.of(graphs), alpha=alpha, network=network)
    expected = pricer.predictor.price(graphs, alpha=alpha, network=network)
    nothing = float("nan")
    np.testing.assert_allclose(found.total_ms, [one.total_ms for one in expected], rtol=1e-12)
    assert found.is_lower_bound.tolist() == [one.is_lower_bound for one in expected]
    for name in ("lo_ms", "hi_ms"):
        wanted = [nothing if getattr(one, name) is None else getattr(one, name) for one in expected]
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-12)


@pytest.mark.parametrize("network", [False, True])
def test_a_population_costs_what_its_networks_cost_one_by_one(fitted, pool, network: bool) -> None:
    pricer = PopulationPricer(fitted)
    places = st.integers(0, len(pool) - 1) | st.integers(len(pool) - 2, len(pool) - 1)
    assert fitted.composition_ is not None
    assert min(fitted.composition_.ms_per_megabyte) >= 0

    @settings(deadline=None, max_examples=60)
    @given(chosen=st.lists(st.lists(places, max_size=20), max_size=6), alpha=st.sampled_from([0.05, 0.1, 0.3]))
    def check(chosen: list[list[int]], alpha: float) -> None:
        assert_priced_alike(pricer, [tuple(pool[k] for k in one) for one in chosen], alpha, network)

    check()


def test_a_population_without_a_correction_is_a_plain_sum(cell_graphs, law) -> None:
    made = LatencyPredictor(rounds=5).fit(cell_graphs[:30], law.true_ms(cell_graphs[:30]))
    assert_priced_alike(PopulationPricer(made), [*cell_graphs[:20], (STRANGER,)], 0.1, True)


def test_a_kernel_is_priced_once_however_many_networks_it_is_in(fitted, pool, monkeypatch) -> None:
    asked: list[Kernel] = []
    price = LatencyPredictor.price

    def counting(self, graphs, **options):
        asked.extend(kernel for graph in graphs for kernel in graph)
        return price(self, graphs, **options)

    monkeypatch.setattr(LatencyPredictor, "price", counting)
    pricer = PopulationPricer(fitted)
    generator = np.random.default_rng(0)
    for _ in range(3):
        graphs = [tuple(pool[k] for k in generator.integers(0, len(pool), 30)) for _ in range(40)]
        pricer.price(Population.of(graphs), network=True)
    assert len(asked) == len(set(asked)) == len(pool)


def test_equal_kernels_are_one_whether_or_not_they_are_one_object(pool) -> None:
    copy = Kernel(**{name: getattr(pool[0], name) for name in ("op", "inputs", "weights", "outputs", "attributes")})
    assert copy is not pool[0]
    population = Population.of([(pool[0], copy), (copy,)])
    assert population.kernels == (pool[0],)
    assert (population.executed.tolist(), population.starts.tolist(), population.size) == ([0, 0, 0], [0, 2, 3], 2)


@pytest.mark.parametrize(
    ("starts", "executed", "words"),
    [
        ([0, 2], [0], "from 0 to the number"),
        ([], [], "from 0 to the number"),
        ([0, 2, 1, 2], [0, 0], "never fall"),
        ([0, 1], [1], "none of the 1"),
        ([0, 1], [-1], "none of the 1"),
    ],
)
def test_a_matrix_that_is_none_is_refused(pool, starts, executed, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Population((pool[0],), np.array(starts, dtype=np.int64), np.array(executed, dtype=np.int64))


def test_a_predictor_that_knows_nothing_says_so(pool) -> None:
    with pytest.raises(UsageError, match="knows nothing yet"):
        PopulationPricer(LatencyPredictor()).price(Population.of([]))
