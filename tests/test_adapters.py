"""Live adapters against the real packages: expected costs, trials, problems; each equals the table's own price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecost.costmodels.cost_table import CostTable
from edgecost.costmodels.lut import Lut
from edgecost.costmodels.lut_formats.contract import checksum_lut, without
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError

SPACES = ("fbnet", "ofa-mobilenetv3", "proxylessnas", "mobilenetv3-large")
#: Spaces whose cells depend on several choices.
SHARED = ("nasbench201", "darts-cifar", "attentivenas", "hat-wmt")


def small_lut(space: Space, seed: int = 0) -> Lut:
    """Latencies and energies of a few units, so that sums are well conditioned in any precision."""
    rng = np.random.default_rng(seed)
    made = checksum_lut(space, scale=0.5, offset_ms=3.0)
    count = len(made)
    return replace(made, latency_ms=rng.uniform(0.1, 2, count), energy_mj=rng.uniform(1, 9, count))


@pytest.mark.parametrize("name", [*SPACES, *SHARED])
def test_the_array_of_costs_prices_as_the_table_does(name: str) -> None:
    space = load_space(name)
    lut = small_lut(space)
    archs = space.sample(min(space.size, 300), 1)
    np.testing.assert_allclose(CostTable.of(lut).price(archs), lut.price(archs), rtol=1e-12)
    energies = [sum(lut.query(c.key).energy_mj for c in space.cells_of(arch) if not c.absent) for arch in archs]
    np.testing.assert_allclose(CostTable.of(lut, metric="energy").price(archs), energies, rtol=1e-12)


def test_what_is_not_known_is_listed_and_memory_does_not_add_up() -> None:
    space = load_space("fbnet")
    lost = space.measurable[9].key
    with pytest.raises(GateError, match=lost):
        CostTable.of(without(checksum_lut(space), lost))
    lut = checksum_lut(space)
    energy_mj = np.where(np.array(lut.keys) == lost, np.nan, 1.0)
    with pytest.raises(GateError, match=lost):
        CostTable.of(replace(lut, energy_mj=energy_mj), metric="energy")
    with pytest.raises(UsageError, match="add up"):
        CostTable.of(lut, metric="memory")  # type: ignore[arg-type]  # what a caller may type


class TestTorch:
    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        pytest.importorskip("torch", reason="torch is optional and not installed")

    @pytest.mark.parametrize("name", [*SPACES, *SHARED])
    @pytest.mark.parametrize("metric", ["latency", "energy"])
    def test_one_hot_probabilities_give_the_price_of_the_architecture(self, name: str, metric: str) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space(name)
        lut = small_lut(space)
        cost = ExpectedCost(lut, metric=metric)
        archs = space.sample(min(space.size, 50), 1)
        elastic = [stage for stage in space.stages if stage.elastic]
        chosen = torch.from_numpy(archs.astype(np.int64))
        hot = [
            torch.nn.functional.one_hot(chosen[:, place].clamp(min=0), len(position.names)).double()
            for place, position in enumerate(space.positions)
        ]
        depths = [
            (torch.tensor(stage.depths) == (chosen[:, stage.start : stage.stop] >= 0).sum(1, keepdim=True)).double()
            for stage in elastic
        ]
        expected = CostTable.of(lut, metric=metric).price(archs)
        if not space.positions:
            hot_padded = torch.zeros((1, 0, 0), dtype=torch.float64)
            np.testing.assert_allclose(cost(hot_padded).numpy(), expected, rtol=1e-12)
            return
        found = cost(hot, depths or None)
        assert found.shape == (len(archs),)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)

    def test_the_gradient_of_a_probability_is_the_cost_of_its_candidate(self) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space("fbnet")
        lut = small_lut(space)
        probabilities = torch.full((22, 9), 1 / 9, dtype=torch.float64, requires_grad=True)
        ExpectedCost(lut)(probabilities).backward()
        np.testing.assert_allclose(probabilities.grad.numpy(), CostTable.of(lut).costs)

    def test_an_expectation_is_the_mean_over_drawn_architectures(self) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space("ofa-mobilenetv3")
        lut = small_lut(space)
        archs = space.sample(60_000, 5)
        uniform = torch.full((20, 9), 1 / 9, dtype=torch.float64)
        depths = [torch.full((3,), 1 / 3, dtype=torch.float64)] * 5
        prices = lut.price(archs)
        expected = float(ExpectedCost(lut)(uniform, depths))
        assert expected == pytest.approx(prices.mean(), abs=4 * prices.std() / len(prices) ** 0.5)

    def test_an_expectation_over_choices_that_meet_in_one_cell_is_the_mean_over_all_architectures(self) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space("nasbench201")
        lut = small_lut(space)
        every = np.stack(np.meshgrid(*[np.arange(5)] * 6, indexing="ij"), axis=-1).reshape(-1, 6).astype(np.int16)
        dice = np.random.default_rng(2).dirichlet(np.ones(5), 6)
        chances = np.prod([dice[edge][every[:, edge]] for edge in range(6)], axis=0)
        found = float(ExpectedCost(lut)(torch.from_numpy(dice)))
        assert found == pytest.approx(float(chances @ lut.price(every)))

    def test_a_search_by_gradient_finds_the_fastest_architecture(self) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space("proxylessnas")
        lut = small_lut(space)
        cost = ExpectedCost(lut)
        alphas = [torch.zeros(len(p.cells), dtype=torch.float64, requires_grad=True) for p in space.positions]
        optimiser = torch.optim.Adam(alphas, lr=0.3)
        for _ in range(150):
            optimiser.zero_grad()
            cost([torch.softmax(alpha, 0) for alpha in alphas]).backward()
            optimiser.step()
        found = np.array([[int(alpha.argmax()) for alpha in alphas]])
        costs = CostTable.of(lut).costs
        np.testing.assert_array_equal(found[0], np.nanargmin(costs, axis=1))

    @pytest.mark.parametrize("padding", [float("inf"), float("-inf"), float("nan"), 7.0])
    def test_what_stands_behind_the_last_candidate_has_no_part_in_the_cost_or_its_gradient(
        self, padding: float
    ) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        space = load_space("proxylessnas")
        cost = ExpectedCost(small_lut(space))
        counts = [len(position.cells) for position in space.positions]
        lists = [torch.full((count,), 1 / count, dtype=torch.float64) for count in counts]
        padded = torch.full((len(counts), max(counts)), padding, dtype=torch.float64)
        for place, one in enumerate(lists):
            padded[place, : len(one)] = one
        padded.requires_grad_()
        assert min(counts) < max(counts)
        found = cost(padded)
        assert found.item() == cost(lists).item()
        found.backward()
        assert torch.isfinite(padded.grad).all()

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        cost = ExpectedCost(checksum_lut(load_space("ofa-mobilenetv3")))
        with pytest.raises(UsageError, match="shape"):
            cost(torch.zeros(20, 8))
        with pytest.raises(UsageError, match="depths"):
            cost(torch.zeros(20, 9))
        with pytest.raises(UsageError, match="candidates"):
            cost([torch.zeros(9)] * 19)


def test_optuna_suggests_architectures_of_the_space_and_their_latency() -> None:
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    from edgecost.costmodels.adapters.optuna_trials import latency_of, suggest_arch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = load_space("ofa-mobilenetv3")
    lut = small_lut(space)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        arch = suggest_arch(trial, space)
        space.check_arch(arch)
        trial.set_user_attr("arch", arch.tolist())
        return latency_of(trial, lut), float((arch >= 0).sum())

    study.optimize(objective, n_trials=40)
    archs = np.array([trial.user_attrs["arch"] for trial in study.trials])
    np.testing.assert_allclose([trial.values[0] for trial in study.trials], lut.price(archs))
    for trial, arch in zip(study.trials, archs, strict=True):
        assert len(trial.params) == 5 + (arch >= 0).sum(), "nothing is suggested for positions that are not active"
    assert len({row.tobytes() for row in archs}) == 40


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "fbnet", "proxylessnas"])
def test_genes_reach_every_depth_and_candidate_and_nothing_else(name: str) -> None:
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    from edgecost.costmodels.adapters.pymoo_problem import Genes

    space = load_space(name)
    genes = Genes(space)
    drawn = np.random.default_rng(0).integers(0, genes.most + 1, size=(2000, len(genes.most)))
    archs = space.check_arch(genes.archs(drawn))
    for stage in space.stages:
        assert set((archs[:, stage.start : stage.stop] >= 0).sum(axis=1).tolist()) == set(stage.depths)
    for place, position in enumerate(space.positions):
        assert set(archs[:, place].tolist()) - {-1} == set(range(len(position.cells)))


def test_a_pymoo_problem_prices_a_population_at_once() -> None:
    pytest.importorskip("pymoo", reason="pymoo is not installed")
    from edgecost.costmodels.adapters.pymoo_problem import LatencyProblem

    space = load_space("ofa-mobilenetv3")
    lut = small_lut(space)
    problem = LatencyProblem(lut, lambda archs: -(archs >= 0).sum(axis=1).astype(float), limit_ms=10.0)
    genes = np.random.default_rng(1).integers(0, problem.xu + 1, size=(30, problem.n_var))
    found, above = problem.evaluate(genes, return_values_of=["F", "G"])
    archs = problem.genes.archs(genes)
    np.testing.assert_allclose(found, np.stack([lut.price(archs), -(archs >= 0).sum(axis=1)], axis=1))
    np.testing.assert_allclose(above[:, 0], lut.price(archs) - 10.0)
