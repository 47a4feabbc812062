"""archai's own objectives and searches ask a table."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgecost.costmodels.lut_formats.contract import without
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError


@pytest.fixture
def api(consumer) -> ModuleType:
    return consumer("archai.discrete_search.api")


@pytest.mark.parametrize("name", ["fbnet", "ofa-mobilenetv3"])
def test_an_objective_is_the_table_s_price_in_ms_and_a_constraint_cuts_there(api, corrected, name: str) -> None:
    from edgecost.costmodels.adapters.archai_evaluator import LutEvaluator
    from tests.consumers.archai_space import arch_of, model_of

    space = load_space(name)
    lut = corrected(space)
    archs = space.sample(50, 0)
    prices = lut.price(archs)
    limit = float(np.median(prices))
    objectives = api.SearchObjectives()
    objectives.add_objective(
        "latency_ms", LutEvaluator(lut, arch_of), higher_is_better=False, compute_intensive=False,
        constraint=(0.0, limit),
    )  # fmt: skip
    models = [model_of(arch) for arch in archs]
    assert objectives.eval_all_objs(models)["latency_ms"].tolist() == prices.tolist()
    _, valid = objectives.validate_constraints(models)
    assert valid.tolist() == np.flatnonzero(prices <= limit).tolist()
    assert [objectives.is_model_valid(one) for one in models] == (prices <= limit).tolist()


def test_native_architectures_are_understood_and_a_lost_cell_is_named(api, corrected) -> None:
    from edgecost.costmodels.adapters.archai_evaluator import LutEvaluator
    from tests.consumers.archai_space import arch_of, model_of

    space = load_space("ofa-mobilenetv3")
    lut = corrected(space)
    archs = space.sample(5, 1)
    evaluator = LutEvaluator(lut, lambda one: one.arch)
    for arch, native in zip(archs, space.decode(archs), strict=True):
        assert evaluator.evaluate(api.ArchaiModel(native, "one")) == lut.price(arch[None, :])[0]
    lost = space.cells_of(archs[0])[1].key
    with pytest.raises(GateError, match=lost):
        LutEvaluator(without(lut, lost), arch_of).evaluate(model_of(archs[0]), 1.0)


def searched(algorithm, space, lut, folder: Path, *, expensive: bool, **options: object):
    """Searches for small latency and large indices; what was evaluated, in all and for each iteration."""
    from archai.discrete_search.api import SearchObjectives

    from edgecost.costmodels.adapters.archai_evaluator import LutEvaluator
    from tests.consumers.archai_space import Archs, Work, arch_of

    objectives = SearchObjectives()
    objectives.add_objective("latency_ms", LutEvaluator(lut, arch_of), False, compute_intensive=expensive)
    objectives.add_objective("work", Work(), True, compute_intensive=expensive)
    results = algorithm(Archs(space), objectives, str(folder), num_iters=3, seed=1, **options).search()
    return results.all_evaluated_objs, results.results


def test_an_evolutionary_search_runs_on_the_table(consumer, corrected, tmp_path: Path) -> None:
    algos = consumer("archai.discrete_search.algos")
    from tests.consumers.archai_space import arch_of

    space = load_space("fbnet")
    lut = corrected(space)
    found, iterations = searched(algos.EvolutionParetoSearch, space, lut, tmp_path, expensive=False, init_num_models=10)
    archs = [arch_of(one) for iteration in iterations for one in iteration["models"]]
    assert len(archs) > 20
    assert found["latency_ms"].tolist() == lut.price(np.array(archs)).astype(np.float32).tolist()


def test_bananas_has_latency_from_the_table_and_learns_the_rest(consumer, corrected, tmp_path: Path) -> None:
    algos = consumer("archai.discrete_search.algos")
    from archai.discrete_search.predictors.dnn_ensemble import PredictiveDNNEnsemble

    from edgecost.costmodels.adapters.archai_evaluator import LutPredictor
    from tests.consumers.archai_space import arch_of

    space = load_space("fbnet")
    lut = corrected(space)
    surrogate = LutPredictor(lut, PredictiveDNNEnsemble(num_ensemble_members=2, num_tr_steps=20, device="cpu"))
    found, iterations = searched(algos.MoBananasSearch, space, lut, tmp_path, expensive=True, surrogate_model=surrogate)
    assert len(iterations) == 3
    archs = np.array([arch_of(one) for iteration in iterations for one in iteration["models"]])
    assert found["latency_ms"].tolist() == lut.price(archs).astype(np.float32).tolist()
    guessed = iterations[-1]["Predicted latency_ms mean"]
    assert list(guessed) == lut.price(np.array([arch_of(one) for one in iterations[-1]["models"]])).tolist()


def test_the_variance_is_that_of_what_was_observed_around_the_table(api, corrected) -> None:
    from edgecost.costmodels.adapters.archai_evaluator import LutPredictor

    space = load_space("fbnet")
    lut = corrected(space)
    archs = space.sample(40, 2)
    prices = lut.price(archs)
    surrogate = LutPredictor(lut)
    with pytest.raises(UsageError, match="fit"):
        surrogate.predict(archs.astype(float))
    off = np.random.default_rng(0).normal(0, 2, len(archs))
    surrogate.fit(archs.astype(float), (prices + off)[:, None])
    predicted = surrogate.predict(archs[:7].astype(float))
    assert predicted.mean.tolist() == prices[:7, None].tolist()
    np.testing.assert_allclose(predicted.var, np.full((7, 1), np.mean(off**2)), rtol=1e-5)  # differences of large sums
    with pytest.raises(UsageError, match="1 targets beside latency"):
        surrogate.fit(archs.astype(float), np.zeros((40, 2)))


def test_the_example_of_the_page_runs(api, corrected, run_example) -> None:
    names = run_example("archai", corrected(load_space("ofa-mobilenetv3")))
    lut, found = names["lut"], names["latency_ms"]
    assert found.tolist() == lut.price(names["archs"]).tolist()
