"""The model of a space against devices with known laws: who is elected, what intervals cover, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels.space_models.encoding import Encoding, encode_cells, encode_layers
from edgecost.costmodels.space_models.intervals import CALIBRATION_MIN, conformal_bounds, fit_bands
from edgecost.costmodels.space_models.residual import elect
from edgecost.costmodels.space_models.space_model import BAND_ALPHAS, ROWS_MIN, SpaceModel
from edgecost.profiler.errors import UsageError

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
COST_MS = np.array([0.0, 0.1, 1.0, 3.0, 0.7])
KNOWN = 250


@pytest.fixture(scope="module")
def every() -> Encoding:
    """900 cells, degenerate ones among them."""
    return encode_cells(np.random.default_rng(7).integers(0, 5, (900, 6)), EDGES)


@pytest.fixture(scope="module")
def cells(every) -> Encoding:
    return every.take(~every.degenerate)


def serial_ms(encoding: Encoding) -> np.ndarray:
    return 4.0 + encoding.matrix("counts") @ COST_MS


def crossed_ms(encoding: Encoding) -> np.ndarray:
    """A device that no sum of costs describes: two choices make everything else slower."""
    hot = encoding.matrix("one_hot").reshape(encoding.size, 6, 5)
    return serial_ms(encoding) * np.where(hot[:, 3, 1], 3.0, 1.0) * np.where(hot[:, 5, 4], 2.0, 1.0)


def noisy(latency_ms: np.ndarray, seed: int, sigma: float = 0.03) -> np.ndarray:
    return latency_ms * np.random.default_rng(seed).lognormal(0, sigma, len(latency_ms))


@pytest.fixture(scope="module")
def serial(cells) -> SpaceModel:
    return SpaceModel().fit(cells.take(np.arange(KNOWN)), noisy(serial_ms(cells), 0)[:KNOWN])


@pytest.fixture(scope="module")
def crossed(cells) -> SpaceModel:
    return SpaceModel(interval="quantile").fit(cells.take(np.arange(KNOWN)), noisy(crossed_ms(cells), 0)[:KNOWN])


@pytest.fixture(scope="module")
def fresh(cells) -> Encoding:
    return cells.take(np.arange(KNOWN, cells.size))


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(np.abs(predicted / truth - 1)))


def test_on_an_additive_device_the_table_speaks_alone(serial, fresh) -> None:
    assert serial.report().expert == "table"
    assert serial.correction_.booster is None
    np.testing.assert_array_equal(serial.predict(fresh), serial.table_.predict(fresh))
    assert error(serial.predict(fresh), serial_ms(fresh)) < 0.01


def test_where_no_sum_of_costs_holds_trees_are_elected_and_help(crossed, fresh) -> None:
    report = crossed.report()
    assert report.expert in ("table+trees", "trees")
    truth = crossed_ms(fresh)
    assert error(crossed.predict(fresh), truth) < 0.8 * error(crossed.table_.predict(fresh), truth)
    assert report.model_error_percent < report.table_error_percent
    assert min(report.candidates_percent, key=report.candidates_percent.get) != "table"


def test_a_device_that_runs_branches_side_by_side_is_met_by_the_critical_path(cells, fresh) -> None:
    def parallel_ms(encoding: Encoding) -> np.ndarray:
        block = encoding.block("critical_path")
        return 1.0 + block.values @ (np.array(block.columns) == "longest_142")

    known = cells.take(np.arange(100))
    model = SpaceModel().fit(known, noisy(parallel_ms(known), 3, 0.005))
    assert error(model.predict(fresh), parallel_ms(fresh)) < 0.01
    assert model.report().scales["critical_path"] > 0


def test_errors_that_the_report_names_are_those_on_fresh_networks(serial, crossed, fresh) -> None:
    for model, law in ((serial, serial_ms), (crossed, crossed_ms)):
        measured = noisy(law(fresh), 5)
        report = model.report()
        assert report.model_error_percent == pytest.approx(100 * error(model.predict(fresh), measured), rel=0.3)
        table = 100 * error(model.table_.predict(fresh), measured)
        assert report.table_error_percent == pytest.approx(table, rel=0.3)
        assert report.rows == KNOWN
        assert report.expert in report.lines()[0]


@pytest.mark.parametrize("alpha", [0.2, 0.1, 0.05])
def test_intervals_cover_fresh_networks_about_as_often_as_they_say(serial, crossed, fresh, alpha) -> None:
    covered = []
    for model, law in ((serial, serial_ms), (crossed, crossed_ms)):
        measured = noisy(law(fresh), 6)
        low, high = model.predict_interval(fresh, alpha).T
        covered.append(np.mean((low <= measured) & (measured <= high)))
        assert (low <= high).all()
    # Two deviations of 250 scores and 610 networks.
    assert abs(covered[0] - (1 - alpha)) < 0.06
    # Trees of four fifths of the rows calibrate those of all: where trees carry the model, bounds are wide, not narrow.
    assert covered[1] > 1 - alpha - 0.04


def test_a_larger_coverage_has_wider_intervals(serial, fresh) -> None:
    widths = [np.ptp(serial.predict_interval(fresh, alpha), axis=1).min() for alpha in (0.5, 0.2, 0.05)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_quantile_bands_are_wide_where_errors_are_large() -> None:
    rng = np.random.default_rng(0)
    loud = rng.random(4000) < 0.5
    features = np.column_stack([loud, rng.random(4000)]).astype(np.float64)
    scores = rng.normal(0, np.where(loud, 0.2, 0.02))
    (band,) = fit_bands(features[:1000], scores[:1000], [0.1], folds=5, seed=0)
    low, high = band.bounds(features[1000:]).T
    inside = (low <= scores[1000:]) & (scores[1000:] <= high)
    of_loud = loud[1000:]
    assert np.median((high - low)[of_loud]) > 4 * np.median((high - low)[~of_loud])
    assert min(inside[of_loud].mean(), inside[~of_loud].mean()) > 0.84
    assert 0.87 < inside.mean() < 0.93


@given(st.integers(1, 300), st.floats(0.01, 0.99))
def test_conformal_bounds_hold_the_share_that_exchangeability_promises(count, alpha) -> None:
    """A new score falls into each of the n + 1 gaps with equal probability."""
    low, high = conformal_bounds(np.arange(count, dtype=np.float64), alpha)
    gaps_inside = (min(high, count) - max(low, -1.0)) if high > low else 0
    assert gaps_inside / (count + 1) >= 1 - alpha - 1e-6
    tightest = math.floor((count + 1) * alpha / 2 + 1e-9)
    assert low == (tightest - 1 if tightest else -math.inf)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_share_outside_zero_and_one_is_refused(serial, fresh, alpha) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        serial.predict_interval(fresh, alpha)


def test_equal_seeds_give_equal_models(cells, fresh) -> None:
    known = cells.take(np.arange(220))
    one, same, other = (SpaceModel(random_state=seed).fit(known, crossed_ms(known)) for seed in (0, 0, 1))
    assert one.correction_.booster.model_to_string() == same.correction_.booster.model_to_string()
    np.testing.assert_array_equal(one.predict_interval(fresh), same.predict_interval(fresh))
    assert one.report() == same.report()
    assert (one.predict(fresh) != other.predict(fresh)).any()


def test_a_device_slower_by_a_factor_is_predicted_slower_by_it(cells, fresh) -> None:
    known, measured = cells.take(np.arange(80)), noisy(serial_ms(cells), 1)[:80]
    slow, fast = (SpaceModel().fit(known, factor * measured).predict(fresh) for factor in (1024.0, 1.0))
    np.testing.assert_allclose(slow, 1024 * fast, rtol=1e-6)


def test_networks_that_a_runtime_leaves_out_bend_nothing_and_have_a_latency_of_their_own(every) -> None:
    truth = np.where(every.degenerate, 0.01, serial_ms(every))
    rows = np.concatenate([np.flatnonzero(every.degenerate)[:6], np.flatnonzero(~every.degenerate)[:100]])
    model = SpaceModel().fit(every.take(rows), truth[rows])
    assert model.report().degenerate_ms == pytest.approx(0.01)
    assert error(model.predict(every), truth) < 0.01
    bounds = model.predict_interval(every, 0.1)[every.degenerate]
    np.testing.assert_array_equal(bounds, np.broadcast_to([0.0, math.inf], bounds.shape))


def test_networks_without_a_way_follow_the_model_where_the_device_pays_for_them(every) -> None:
    truth = serial_ms(every)
    rows = np.concatenate([np.flatnonzero(every.degenerate)[:6], np.flatnonzero(~every.degenerate)[:100]])
    model = SpaceModel().fit(every.take(rows), truth[rows])
    assert model.report().degenerate_ms is None
    assert model.report().degenerate_rows == 6
    assert error(model.predict(every), truth) < 0.03


def test_what_was_never_seen_is_flagged_and_gets_no_interval(serial, every, cells) -> None:
    odd = every.take(every.degenerate)
    assert serial.extrapolates(odd).all()
    assert np.isnan(serial.predict_interval(odd)).all()
    assert not serial.extrapolates(cells.take(np.arange(KNOWN))).any()
    few = np.flatnonzero(cells.block("counts").values[:, 3] <= 1)[:40]
    narrow = SpaceModel().fit(cells.take(few), serial_ms(cells)[few])
    many = cells.block("counts").values[:, 3] >= 2
    assert narrow.extrapolates(cells)[many].all()


def test_few_rows_get_a_table_but_no_interval(cells, fresh) -> None:
    rows = np.arange(CALIBRATION_MIN - 1)
    model = SpaceModel().fit(cells.take(rows), serial_ms(cells)[rows])
    assert model.report().candidates_percent.keys() == {"table"}
    assert error(model.predict(fresh), serial_ms(fresh)) < 0.02
    with pytest.raises(UsageError, match=f"{CALIBRATION_MIN - 1} measured architectures are too few"):
        model.predict_interval(fresh)


def test_the_table_wins_where_trees_gain_nothing(cells) -> None:
    known = cells.take(np.arange(150))
    won = elect(known, noisy(serial_ms(known), 4, 0.2), serial_ms(known))
    assert won.expert == "table"
    assert won.errors_percent["trees"] > won.errors_percent["table"]


def test_a_table_without_an_error_to_speak_of_asks_no_trees(cells) -> None:
    known = cells.take(np.arange(60))
    assert elect(known, serial_ms(known), serial_ms(known) * (1 + 1e-6)).errors_percent.keys() == {"table"}


@pytest.mark.parametrize(
    ("latency", "message"),
    [
        (np.ones(29), "do not match"),
        (np.zeros(30), "positive and finite"),
        (np.full(30, np.nan), "positive and finite"),
        (np.full(30, -1.0), "positive and finite"),
        (["quick"] * 30, "must be numbers"),
    ],
)
def test_latencies_that_make_no_sense_are_refused(cells, latency, message) -> None:
    with pytest.raises(UsageError, match=message):
        SpaceModel().fit(cells.take(np.arange(30)), latency)


def test_requests_that_make_no_sense_are_refused(cells, serial, crossed, fresh) -> None:
    with pytest.raises(UsageError, match="too few to fit"):
        SpaceModel().fit(cells.take([0]), [1.0])
    with pytest.raises(UsageError, match=f"{ROWS_MIN} is the least"):
        SpaceModel().fit(cells.take(np.arange(ROWS_MIN - 1)), np.ones(ROWS_MIN - 1))
    with pytest.raises(UsageError, match="no model can be made"):
        SpaceModel(folds=1).fit(cells, serial_ms(cells))
    with pytest.raises(UsageError, match="knows nothing yet"):
        SpaceModel().predict(cells)
    with pytest.raises(UsageError, match="other columns"):
        serial.predict(encode_layers([[0, 0]], [(8, 4, 4, 1)] * 2, np.ones((2, 9))))
    assert 0.3 not in BAND_ALPHAS
    with pytest.raises(UsageError, match=r"no quantile band was learnt for alpha 0\.3"):
        crossed.predict_interval(fresh, 0.3)
