"""The portable form of a few-shot model against the model itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.onboarding.portable import portable
from edgecost.costmodels.space_models.encoding import encode_cells
from edgecost.costmodels.space_models.experts import prepare
from edgecost.costmodels.space_models.fleet import Fleet, Source
from edgecost.profiler.errors import UsageError

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
COSTS = {"a": (0.1, 0.8, 2.0, 0.6), "b": (0.05, 0.5, 0.9, 0.9), "c": (0.4, 3.0, 9.0, 1.5), "d": (0.1, 0.4, 1.0, 2.5)}
OPS = np.random.default_rng(0).integers(0, 5, (300, 6))
ENCODING = encode_cells(OPS, EDGES)


def law_ms(costs: tuple[float, ...], noise: float, seed: int) -> np.ndarray:
    exact = np.array((0.0, *costs))[OPS].sum(axis=1) + 4.0
    return exact * np.exp(noise * np.random.default_rng(seed).standard_normal(len(OPS)))


def fleet(names: str) -> Fleet:
    rows = np.flatnonzero(~ENCODING.degenerate)[:90]
    surfaces = {name: law_ms(COSTS[name], 0.01, place) for place, name in enumerate(names)}
    return Fleet(ENCODING, tuple(Source(name, rows, surface[rows], surface) for name, surface in surfaces.items()))


def surfaces_ms(known: Fleet) -> np.ndarray:
    return np.array([source.surface_ms for source in known.sources]).reshape(len(known.sources), len(OPS)).T


@pytest.mark.parametrize("names", ["", "a", "ab", "abcd"])
def test_the_arrays_give_the_numbers_of_the_model_for_every_architecture(names):
    known = fleet(names)
    rows = np.flatnonzero(~ENCODING.degenerate)[100:118]
    model = prepare(known).fit(rows, law_ms((0.2, 1.0, 2.5, 1.0), 0.05, 9)[rows])
    kept = portable(model)
    guess, deviation = kept.predict_ms(ENCODING, surfaces_ms(known))
    assert guess == pytest.approx(model.predict_ms(), rel=1e-9)
    assert deviation == pytest.approx(model.deviation_ms(), rel=1e-6)
    for alpha in (0.05, 0.1, 0.2):
        assert kept.deviations(alpha) == pytest.approx(model.interval_width(alpha).deviations, rel=1e-12)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), count=st.integers(1, 25), noise=st.floats(0.001, 0.5))
def test_the_arrays_agree_whatever_was_measured(seed, count, noise):
    known = fleet("ab")
    rows = np.random.default_rng(seed).choice(np.flatnonzero(~ENCODING.degenerate), count, replace=False)
    model = prepare(known).fit(rows, law_ms(COSTS["d"], noise, seed)[rows])
    guess, deviation = portable(model).predict_ms(ENCODING, surfaces_ms(known))
    assert guess == pytest.approx(model.predict_ms(), rel=1e-8)
    assert deviation == pytest.approx(model.deviation_ms(), rel=1e-5)


def test_other_columns_and_other_sources_are_refused():
    known = fleet("ab")
    kept = portable(prepare(known).fit(np.array([1, 2, 3]), law_ms(COSTS["c"], 0.0, 0)[[1, 2, 3]]))
    with pytest.raises(UsageError, match="2 sources"):
        kept.predict_ms(ENCODING, surfaces_ms(fleet("a")))
    other = encode_cells(OPS[:, :3], EDGES[:3])
    with pytest.raises(UsageError, match="lacks"):
        kept.predict_ms(other, surfaces_ms(known))
