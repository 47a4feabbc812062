"""Prices of halves, totals, energies and the best cut: against sums by hand, a simulator that adds up, and a law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.simulated.simulation import simulated_setting
from edgecost.costmodels.split.cuts import Crossing, CutPoint, SplitGraph, cut_points
from edgecost.costmodels.split.halves import halves
from edgecost.costmodels.split.link import Link
from edgecost.costmodels.split.picture import split_svg
from edgecost.costmodels.split.prices import (
    SPLIT,
    HalfEnergy,
    HalfPrice,
    PredictorPricer,
    SimulatorPricer,
    nothing,
    open_pricer,
)
from edgecost.costmodels.split.sides import Side, find_side
from edgecost.costmodels.split.splitting import PricedSide, Splitting
from edgecost.costmodels.split.table import Question, Split, SplitCut, split_cut
from edgecost.db import Store
from edgecost.profiler.errors import ArtefactError, UsageError
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile
from tests.conftest import Notebook
from tests.split_chains import chain, energy_of_relu, latency_of_relu

LINK = Link(8e6, 2.0)
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Silence."""

    def step(self, note: str) -> None:
        """Silence."""

    def note(self, text: str) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def latency() -> LatencyPredictor:
    return latency_of_relu()


@pytest.fixture(scope="module")
def energy() -> EnergyPredictor:
    return energy_of_relu()


@pytest.fixture(scope="module")
def written() -> RuntimeProfile:
    """A profile under which a graph is run as it is written, so that kernels of halves are those of the whole."""
    return simulated_setting("systolic")[0].profile


def side(pricer: PredictorPricer | SimulatorPricer, notebook_side: Side | None = None) -> PricedSide:
    setting = simulated_setting("systolic")[0]
    return PricedSide(notebook_side or Side(setting.device, setting.profile), pricer)


def price(latency_ms: float | None, *, lacks: bool = False, mj: float | None = None) -> HalfPrice:
    low, high = (None, None) if lacks or latency_ms is None else (0.9 * latency_ms, 1.2 * latency_ms)
    made = None if mj is None else HalfEnergy(mj, 0.8 * mj, 1.5 * mj)
    return HalfPrice("predicted", latency_ms, low, high, is_lower_bound=lacks, kernels=1, energy=made)


def point(position: int, *sizes: int) -> CutPoint:
    return CutPoint(position, f"after {position}", tuple(Crossing(f"t{n}", "float32", (n,), n) for n in sizes))


def cut(number: int, head: HalfPrice, tail: HalfPrice, *sizes: int, answer: int = 0, **asked: float | bool) -> SplitCut:
    return split_cut(number, point(number, *sizes), head, tail, answer, Question(LINK, **asked))  # type: ignore[arg-type]


def test_a_total_is_head_link_and_tail_and_its_interval_the_sum_of_the_ends() -> None:
    one = cut(1, price(10.0), price(20.0), 1000, 500)
    assert one.link_ms == pytest.approx(1500 * 8 / 8e6 * 1e3 + 2.0)
    assert one.total_ms == pytest.approx(10 + 20 + 3.5)
    assert (one.lo_ms, one.hi_ms) == (pytest.approx(9 + 18 + 3.5), pytest.approx(12 + 24 + 3.5))
    assert (one.interval_coverage, one.is_lower_bound) == (0.8, False)


def test_an_end_has_one_half_only_and_the_interval_of_that_half() -> None:
    one = cut(2, price(10.0), nothing(has_energy=False))
    assert (one.total_ms, one.link_ms, one.interval_coverage) == (10.0, 0.0, 0.9)


def test_the_way_back_is_added_where_the_result_is_wanted_and_something_was_sent_away() -> None:
    there = cut(1, price(1.0), price(1.0), 1000, answer=4000)
    back = cut(1, price(1.0), price(1.0), 1000, answer=4000, round_trip=True)
    assert (there.answer_bytes, back.answer_bytes) == (0, 4000)
    assert back.link_ms - there.link_ms == pytest.approx(4.0 + 2.0)


def test_a_half_without_any_price_makes_a_lower_bound_and_two_of_them_make_no_number() -> None:
    one = cut(1, price(None, lacks=True), price(20.0), 1000)
    assert (one.total_ms, one.lo_ms, one.is_lower_bound) == (pytest.approx(23.0), None, True)
    for tail in (price(None, lacks=True), nothing(has_energy=False)):
        assert cut(1, price(None, lacks=True), tail, 1000).total_ms is None


def test_the_energy_of_the_board_is_that_of_head_radio_and_waiting() -> None:
    one = cut(1, price(10.0, mj=50.0), price(20.0), 1000, radio_mw=800.0, idle_mw=1500.0)
    assert one.energy is not None
    assert one.energy.radio_mj == pytest.approx(0.8 * 1.0)
    assert one.energy.waiting_mj == pytest.approx(1.5 * (3.0 + 20.0))
    rest = 0.8 + 34.5
    assert one.energy.energy_mj == pytest.approx(50 + rest)
    assert (one.energy.lo_mj, one.energy.hi_mj) == (pytest.approx(40 + rest), pytest.approx(75 + rest))
    assert not one.energy.is_lower_bound


def test_a_radio_that_nobody_described_is_not_assumed_and_needed_only_where_something_crosses() -> None:
    split_up = cut(1, price(10.0, mj=50.0), price(20.0), 1000)
    alone = cut(2, price(10.0, mj=50.0), nothing(has_energy=False))
    assert split_up.energy is not None
    assert alone.energy is not None
    assert (split_up.energy.radio_mj, split_up.energy.lo_mj, split_up.energy.is_lower_bound) == (None, None, True)
    assert (alone.energy.radio_mj, alone.energy.is_lower_bound) == (0.0, False)
    assert cut(1, price(10.0), price(20.0), 1000, radio_mw=1.0).energy is None


def test_waiting_for_a_tail_that_has_no_full_price_is_a_lower_bound_too() -> None:
    one = cut(1, price(10.0, mj=50.0), price(20.0, lacks=True), 1000, radio_mw=0.0, idle_mw=100.0)
    assert one.energy is not None
    assert one.energy.is_lower_bound


def test_a_lower_bound_is_never_the_best_but_said_where_it_might_be() -> None:
    cuts = (
        cut(0, nothing(has_energy=False), price(30.0), 1000),
        cut(1, price(1.0, lacks=True), price(1.0), 1000),
        cut(2, price(5.0), price(10.0), 1000),
        cut(3, price(50.0, lacks=True), price(10.0), 1000),
        cut(4, price(16.0), nothing(has_energy=False)),
    )
    split = Split("net", cuts, 0, 0)
    assert (split.fastest.number, split.fastest.maybe, split.fastest.close) == (4, (1,), (2,))
    assert split.thriftiest.number is None


def test_halves_of_every_cut_cost_on_a_simulator_that_adds_up_what_the_whole_costs() -> None:
    simulator = simulated_setting("systolic:rows=8,columns=8")[1]
    pricer = SimulatorPricer(simulator)
    workload = chain("Relu", "Sigmoid", "Tanh", "Relu")
    total = pricer.price(workload)
    found = Splitting(workload, Question(LINK, radio_mw=0.0), side(pricer), side(pricer), Silent()).table()
    assert len(found.cuts) == 5
    for one in found.cuts:
        assert one.total_ms == pytest.approx(one.link_ms + (total.latency_ms or 0))
    first, last = found.cuts[0], found.cuts[-1]
    assert total.energy is not None
    assert first.energy is not None
    assert last.energy is not None
    assert (first.energy.energy_mj, last.energy.energy_mj) == (0.0, total.energy.energy_mj)
    assert (found.fastest.number, found.thriftiest.number) == (4, 0)


def test_prices_of_halves_by_a_predictor_that_is_a_plain_sum_add_up(
    latency: LatencyPredictor, energy: EnergyPredictor, written: RuntimeProfile
) -> None:
    pricer, workload = PredictorPricer(written, latency, energy), chain(*["Relu"] * 5)
    whole = pricer.price(workload)
    assert whole.energy is not None
    graph = SplitGraph(workload)
    for one in cut_points(graph, tensors_max=1).points:
        found = halves(graph, one)
        prices = [pricer.price(half) for half in (found.head, found.tail) if half is not None]
        assert sum(each.kernels for each in prices) == whole.kernels == 5
        assert sum(each.latency_ms or 0.0 for each in prices) == pytest.approx(whole.latency_ms)
        assert sum(each.energy.energy_mj for each in prices if each.energy) == pytest.approx(whole.energy.energy_mj)


def test_what_has_no_price_is_named_with_its_reason_and_left_out(
    latency: LatencyPredictor, written: RuntimeProfile
) -> None:
    pricer = PredictorPricer(written, latency, None)
    some, none = pricer.price(chain("Relu", "Erf")), pricer.price(chain("Erf"))
    assert (some.is_lower_bound, list(some.no_price), some.energy) == (True, ["Erf"], None)
    assert some.latency_ms == pytest.approx(pricer.price(chain("Relu")).latency_ms)
    assert (none.is_lower_bound, none.latency_ms) == (True, None)


def test_compression_without_a_price_leaves_everything_on_the_head_as_the_only_full_price(
    latency: LatencyPredictor, written: RuntimeProfile
) -> None:
    pricer = PredictorPricer(written, latency, None)
    found = Splitting(
        chain("Relu", "Relu"), Question(LINK, compress=True), side(pricer), side(pricer), Silent()
    ).table()
    assert [one.is_lower_bound for one in found.cuts] == [True, True, False]
    assert found.fastest.number == 2
    assert set(found.cuts[1].head.no_price) == {"QuantizeLinear"}
    assert set(found.cuts[1].tail.no_price) == {"DequantizeLinear"}
    assert found.cuts[1].point.size_bytes == 1024


def test_a_simulator_that_lacks_an_operator_says_so() -> None:
    found = SimulatorPricer(simulated_setting("systolic")[1]).price(chain("Relu", "NonZero"))
    assert (found.latency_ms, found.is_lower_bound, list(found.no_price)) == (None, True, ["NonZero"])


def test_halves_that_were_measured_on_the_side_count_before_what_is_predicted(
    notebook: Notebook, latency: LatencyPredictor
) -> None:
    workload = chain("Relu", "Relu", "Relu")
    graph = SplitGraph(workload)
    head = halves(graph, cut_points(graph, tensors_max=1).points[1]).head
    assert head is not None
    notebook.write(head, 7.1, purpose=SPLIT)
    notebook.write(workload, 9.1, purpose="profile")
    pricer = PredictorPricer(notebook.profile, latency, None)
    here = PricedSide(Side(notebook.device, notebook.profile), pricer)
    away = PricedSide(Side(simulated_setting("systolic")[0].device, notebook.profile), pricer)
    found = Splitting(workload, Question(LINK), here, away, Silent(), notebook.store).table()
    assert [one.head.source for one in found.cuts] == ["nothing", "measured", "predicted", "measured"]
    assert [one.tail.source for one in found.cuts] == ["predicted", "predicted", "predicted", "nothing"]
    assert found.cuts[1].head.latency_ms == pytest.approx(7.0)
    assert found.cuts[3].total_ms == pytest.approx(9.0)


def test_the_best_cuts_are_measured_here_until_the_fastest_is_measured_and_never_twice(
    file_store: Store, latency: LatencyPredictor
) -> None:
    setting = LocalSetting.here()
    host = PricedSide(Side(setting.device, setting.profile, setting), PredictorPricer(setting.profile, latency, None))
    tail = side(SimulatorPricer(simulated_setting("systolic")[1]))
    splitting = Splitting(chain(*["Relu"] * 3, size=65536), Question(LINK), host, tail, Silent(), file_store)
    found = splitting.measure_best(2, Silent(), LOOSE)
    best = found.cuts[found.fastest.number or 0]
    assert best.head.source in ("measured", "nothing")
    before = file_store.counts().measurements
    assert before > 0
    assert {one.purpose for one in file_store.measurements()} == {SPLIT}
    splitting.measure_best(2, Silent(), LOOSE)
    assert file_store.counts().measurements == before


def test_nothing_is_measured_where_neither_side_is_this_machine(
    notebook: Notebook, latency: LatencyPredictor, written: RuntimeProfile
) -> None:
    pricer = PredictorPricer(written, latency, None)
    splitting = Splitting(chain("Relu"), Question(LINK), side(pricer), side(pricer), Silent(), notebook.store)
    with pytest.raises(UsageError, match="neither side"):
        splitting.measure_best(1, Silent())


def test_a_side_is_found_by_name_by_the_beginning_of_its_identity_or_as_this_machine(notebook: Notebook) -> None:
    def knows_none(*_: object) -> bool:
        return False

    notebook.write(chain("Relu"), 1.0)
    for name, runtime in (("board", None), ("board-1", None), ("boar", "ort")):
        found = find_side(name, runtime, notebook.store, None, knows_none)
        assert (found.device, found.profile, found.setting) == (notebook.device, notebook.profile, None)
    here = find_side("host", None, None, None, knows_none)
    assert here.setting is not None
    assert here.device == here.setting.device
    simulated = find_side("simulator:systolic:rows=8", None, None, None, knows_none)
    assert simulated.simulator is not None


@pytest.mark.parametrize(
    ("name", "runtime", "said"),
    [
        ("gone", None, "no device 'gone'"),
        ("board", "ort-basic", "never measured with ort-basic"),
        ("bo", None, "no device"),
    ],
)
def test_a_side_that_is_not_there_is_refused(notebook: Notebook, name: str, runtime: str | None, said: str) -> None:
    notebook.write(chain("Relu"), 1.0)
    with pytest.raises(UsageError, match=said):
        find_side(name, runtime, notebook.store, None, lambda *_: False)


def test_two_devices_of_one_name_are_told_apart_by_identity_only(notebook: Notebook) -> None:
    notebook.store.put_device(replace(notebook.device, identity="another"))
    with pytest.raises(UsageError, match="2 devices are called") as refused:
        find_side("board", None, notebook.store, None, lambda *_: False)
    assert "another" in refused.value.remedy


def test_a_profile_with_a_predictor_goes_before_a_newer_one_without(notebook: Notebook) -> None:
    older, newer = notebook.profile, replace(notebook.profile, threads=2)
    notebook.write(chain("Relu"), 1.0)
    notebook.store.put_profile(newer)
    notebook.profile = newer
    notebook.write(chain("Relu"), 1.0)
    find = lambda knows: find_side("board", None, notebook.store, None, knows).profile  # noqa: E731
    assert find(lambda _, profile: profile == older) == older
    assert find(lambda *_: False) == newer


def test_a_predictor_of_another_profile_or_none_is_refused(
    tmp_path: Path, notebook: Notebook, latency: LatencyPredictor
) -> None:
    here = Side(notebook.device, notebook.profile)
    with pytest.raises(ArtefactError, match="no predictor"):
        open_pricer(here, tmp_path / "none", tmp_path / "energy")
    save_predictor(latency, tmp_path / "made", {"profile_hash": "another", "profile": "tvm"})
    with pytest.raises(ArtefactError, match="trained for tvm"):
        open_pricer(here, tmp_path / "made", tmp_path / "energy")


def test_the_picture_is_the_same_each_time_and_holds_every_cut() -> None:
    pricer = SimulatorPricer(simulated_setting("systolic")[1])
    found = Splitting(chain("Relu", "Tanh"), Question(LINK), side(pricer), side(pricer), Silent()).table()
    svg = split_svg(found, "A <title> & more")
    assert svg == split_svg(found, "A <title> & more")
    for text in ("0 input", "1 Relu v1", "2 output", "head", "link", "tail", "fastest", "A &lt;title&gt; &amp; more"):
        assert text in svg


def test_the_halves_of_a_chain_are_valid_models() -> None:
    graph = SplitGraph(chain("Relu", "Tanh", "Exp"))
    for compress in (False, True):
        for one in cut_points(graph, tensors_max=1, compress=compress).points:
            found = halves(graph, one)
            for half in (found.head, found.tail):
                if half is not None:
                    onnx.checker.check_model(onnx.load_model_from_string(half.skeleton), full_check=True)
