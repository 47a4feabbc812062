"""LightGBM's trees without LightGBM: our reader and ONNX Runtime's ensemble give its numbers, bit for bit.

The oracle is LightGBM itself, on every kind of missing value, on categories, and on values that lie on thresholds.
"""

from __future__ import annotations

from functools import cache

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.trees import stored_trees
from edgecost.costmodels.trees.stored_trees import WALKED_ROWS_MAX, StoredTrees
from edgecost.costmodels.trees.tree_ensemble import TreeEnsemble, touchstones
from edgecost.costmodels.trees.tree_text import Trees, read_trees
from edgecost.profiler.errors import ArtefactError, UsageError

COLUMNS = 5
CATEGORIES = 60
#: What decides about missing values, as LightGBM's trainer calls it.
MISSING = {
    "none": {"use_missing": False},
    "nan": {"use_missing": True},
    "zero": {"use_missing": True, "zero_as_missing": True},
}
ANSWERS = {"none": ("trees", "ensemble"), "nan": ("trees", "ensemble"), "zero": ("trees",)}


def table(rows: int = 500, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((rows, COLUMNS)) * [1, 1, 1e-3, 1e6, 1]
    features[:, 0] = generator.integers(0, CATEGORIES, rows)
    features[:, 4] = np.round(features[:, 4])
    features[generator.random((rows, COLUMNS)) < 0.05] = np.nan
    features[generator.random((rows, COLUMNS)) < 0.05] = 0.0
    return features


@cache
def trained(missing: str, rounds: int = 40, **parameters: float) -> lgb.Booster:
    features = table()
    known = np.nan_to_num(features)
    target = np.sin(known[:, 0]) + known[:, 1] * (known[:, 4] > 0) + np.isnan(features[:, 2]) + known[:, 3] / 1e6
    settings = {
        "objective": "regression", "num_leaves": 12, "min_data_in_leaf": 3, "max_cat_to_onehot": 4, "cat_smooth": 1.0,
        "min_data_per_group": 2, "verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
        "seed": 0, **MISSING[missing], **parameters,
    }  # fmt: skip
    return lgb.train(settings, lgb.Dataset(features, target, categorical_feature=[0]), rounds)


@cache
def answering(missing: str, way: str) -> Trees | TreeEnsemble:
    trees = read_trees(trained(missing).model_to_string())
    return trees if way == "trees" else TreeEnsemble(trees)


@cache
def near(missing: str) -> list[float]:
    """Thresholds and their neighbours, and the numbers that LightGBM treats apart."""
    trees = answering(missing, "trees")
    assert isinstance(trees, Trees)
    limits = trees.threshold[trees.members_at < 0]
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-36, -1e-36, 1.0000000180025095e-35, 1e300, -0.5, 0.5]
    return [*np.concatenate([limits, np.nextafter(limits, np.inf), np.nextafter(limits, -np.inf)]).tolist(), *special]


def hostile(missing: str) -> st.SearchStrategy[list[list[float]]]:
    number = st.one_of(
        st.sampled_from(near(missing)), st.floats(), st.integers(-3, CATEGORIES + 70).map(float), st.just(3e9)
    )
    return st.lists(st.lists(number, min_size=COLUMNS, max_size=COLUMNS), min_size=1, max_size=8)


WAYS = [(missing, way) for missing, ways in ANSWERS.items() for way in ways]


@pytest.mark.parametrize(("missing", "way"), WAYS)
def test_the_answers_are_lightgbms_on_hostile_numbers(missing: str, way: str) -> None:
    @settings(deadline=None, max_examples=150)
    @given(rows=hostile(missing))
    def check(rows: list[list[float]]) -> None:
        expected = trained(missing).predict(np.array(rows), num_threads=1)
        assert np.array_equal(answering(missing, way).predict(rows), expected)

    check()


@pytest.mark.parametrize(("missing", "way"), WAYS)
def test_the_answers_are_lightgbms_on_the_rows_it_was_trained_on(missing: str, way: str) -> None:
    features = table()
    assert np.array_equal(answering(missing, way).predict(features), trained(missing).predict(features, num_threads=1))


def test_the_trees_of_a_predictor_answer_as_lightgbm_does() -> None:
    generator = np.random.default_rng(3)

    def objective(scores: np.ndarray, rows: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return scores - rows.get_label(), np.ones_like(scores)

    features = table(300, seed=5)
    rows = lgb.Dataset(features, generator.standard_normal(300), categorical_feature=[0])
    booster = lgb.train({"objective": objective, "verbose": -1, "num_threads": 1}, rows, 30)
    trees = read_trees(booster.model_to_string())
    expected = booster.predict(features, num_threads=1)
    assert np.array_equal(trees.predict(features), expected)
    assert np.array_equal(TreeEnsemble(trees).predict(features), expected)


def test_a_tree_of_one_leaf_is_its_leaf() -> None:
    features = np.random.default_rng(0).standard_normal((50, 3))
    booster = lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(features, np.full(50, 7.0)), 3)
    trees = read_trees(booster.model_to_string())
    assert trees.predict(features) == pytest.approx(np.full(50, 7.0))
    assert np.array_equal(trees.predict(features), booster.predict(features))
    with pytest.raises(ArtefactError, match="one leaf"):
        TreeEnsemble(trees)


def test_few_rows_many_rows_and_lightgbm_say_the_same() -> None:
    stored = StoredTrees(trained("nan").model_to_string())
    features = table(WALKED_ROWS_MAX + 100, seed=9)
    many = stored.predict(features)
    assert np.array_equal(many[:10], stored.predict(features[:10]))
    assert np.array_equal(many, stored.booster.predict(features, num_threads=1))
    assert stored.model_to_string() == trained("nan").model_to_string()


def test_what_onnx_runtime_cannot_do_lightgbm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = StoredTrees(trained("zero").model_to_string())
    features = table(WALKED_ROWS_MAX + 1, seed=9)
    assert np.array_equal(stored.predict(features), trained("zero").predict(features, num_threads=1))
    assert stored._ensemble is None


def test_an_ensemble_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TreeEnsemble.predict
    monkeypatch.setattr(TreeEnsemble, "predict", lambda self, features: np.nextafter(plain(self, features), np.inf))
    with pytest.raises(ArtefactError, match="does not answer as the trees"):
        TreeEnsemble(read_trees(trained("nan").model_to_string()))
    features = table(WALKED_ROWS_MAX + 1, seed=9)
    stored = StoredTrees(trained("nan").model_to_string())
    assert np.array_equal(stored.predict(features), trained("nan").predict(features, num_threads=1))


def test_the_touchstones_reach_most_leaves() -> None:
    trees = answering("nan", "trees")
    assert isinstance(trees, Trees)
    reached = trees._walk(touchstones(trees))
    assert len(np.unique(reached)) > 0.8 * len(trees.leaves)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "truncated|not LightGBM"),
        (lambda text: text.replace("\nTree=3\n", "\nTree=3\nis_linear=1\n").replace("is_linear=0\n", "", 4), "linear"),
        (lambda text: text.replace("num_class=1", "num_class=3"), "several outputs"),
        (lambda text: text.replace("objective=regression", "objective=poisson"), "poisson"),
        (lambda text: text.replace("objective=regression", "objective=regression sqrt"), "sqrt"),
        (lambda text: text.replace("max_feature_idx=4\n", ""), "not LightGBM"),
        (lambda text: text.replace("leaf_value=", "leaf_value=x ", 1), "not LightGBM"),
        (lambda text: text.replace("leaf_value=", "leaf_value=1 ", 1), "truncated"),
        (lambda text: text.replace("left_child=1", "left_child=0", 1), "circles"),
        (lambda text: text.replace("split_feature=", "split_feature=9", 1), "columns that there are not"),
        (lambda _: "", "not LightGBM"),
    ],
)
def test_text_that_is_not_ours_is_refused(change, words: str) -> None:
    with pytest.raises(ArtefactError, match=words):
        StoredTrees(change(trained("nan").model_to_string()))


@pytest.mark.parametrize("way", ["trees", "ensemble"])
def test_another_number_of_columns_is_refused(way: str) -> None:
    with pytest.raises(UsageError, match="5 columns"):
        answering("nan", way).predict(np.zeros((2, 4)))


@pytest.mark.parametrize("way", ["trees", "ensemble"])
def test_no_rows_have_no_scores(way: str) -> None:
    assert answering("nan", way).predict(np.zeros((0, COLUMNS))).shape == (0,)
    assert stored_trees.WALKED_ROWS_MAX > 0
