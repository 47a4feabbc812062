"""What operators cost by a predictor: the kernels that count, where a number comes from, and models for nn-Meter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.op_formats import OpFormat, op_format
from edgecost.costmodels.op_formats.contract import ChecksumPrices, OpFormatContract
from edgecost.costmodels.op_formats.distil import distil
from edgecost.costmodels.op_formats.nn_meter_kernels import KERNELS, samples_of
from edgecost.costmodels.op_formats.operators import Convolution, Linear, MapOperator, Operator
from edgecost.costmodels.op_formats.prices import OpPrice, PredictorPrices, is_border, predictor_about
from edgecost.costmodels.op_formats.request import Request, Silence
from edgecost.costmodels.planned_campaign import Narrator
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.errors import GateError, UsageError
from edgecost.profiler.kernels.by_runtime import priced_kernels
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.records import RuntimeProfile
from tests import op_readers
from tests.conftest import KnownLaw

CONV = Convolution.square(1, 32, 28, 64, 1, 1)


@pytest.fixture(scope="module")
def predictor(cell_graphs: list[tuple[Kernel, ...]], law: KnownLaw) -> LatencyPredictor:
    return LatencyPredictor(rounds=20).fit(cell_graphs, law.measured_ms(cell_graphs, seed=0))


@pytest.fixture
def prices(predictor: LatencyPredictor, profile: RuntimeProfile) -> PredictorPrices:
    return PredictorPrices(predictor, profile, predictor_about({"device": "a box"}, profile))


def made(operator: Operator, profile: RuntimeProfile) -> tuple[Kernel, ...]:
    return priced_kernels(operator.workload(), profile).kernels


def test_an_operator_costs_what_predict_says_of_it_less_its_borders(
    prices: PredictorPrices, predictor: LatencyPredictor, profile: RuntimeProfile
) -> None:
    operators = [CONV, Convolution.square(1, 64, 28, 64, 3, 2, groups=64, relu=True)]
    for operator, price in zip(operators, prices.price(operators, Silence()), strict=True):
        (whole,) = predictor.price([made(operator, profile)])
        assert price.latency_ms == sum(one.latency_ms or 0.0 for one in whole.kernels if not is_border(one.kernel))
        assert price.lo_ms is not None
        assert price.hi_ms is not None
        assert price.lo_ms < (price.latency_ms or 0.0) < price.hi_ms
        assert price.source in ("interpolated", "predicted")


def test_what_was_measured_alone_is_said_and_taken(predictor: LatencyPredictor, profile: RuntimeProfile) -> None:
    (kernel,) = [one for one in made(CONV, profile) if not is_border(one)]
    known = LatencyPredictor().set_params(**predictor.get_params())
    vars(known).update(vars(predictor), known_ms_={kernel.kernel_hash: 0.25})
    prices = PredictorPrices(known, profile, predictor_about({}, profile))
    (price,) = prices.price([CONV], Silence())
    assert (price.latency_ms, price.source) == (0.25, "measured")


def test_an_addition_is_taken_into_the_convolution_as_in_a_network(
    prices: PredictorPrices, profile: RuntimeProfile
) -> None:
    operator = Convolution.square(1, 32, 28, 32, 3, 1, residual=True)
    kept = [one for one in made(operator, profile) if not is_border(one) and not operator.is_helper(one)]
    assert [len(one.inputs) for one in kept] == [2]
    assert prices.fuses(operator)
    pair = MapOperator("addrelu", 28, (32, 32))
    assert prices.fuses(pair) == (len(made(pair, profile)) == 1)


def test_what_has_no_price_says_why(prices: PredictorPrices) -> None:
    (price,) = prices.price([MapOperator("maxpool", 28, (32,), 3, 2)], Silence())
    assert price.latency_ms is None
    assert "nothing of the kind was measured" in price.why


def test_eight_bits_are_priced_as_eight_bits(predictor: LatencyPredictor, profile: RuntimeProfile) -> None:
    eight = replace(profile, precision="int8-qdq")
    (price,) = PredictorPrices(predictor, eight, predictor_about({}, eight)).price([CONV], Silence())
    assert price.latency_ms is None
    assert "QLinearConv" in price.why


@pytest.mark.parametrize(
    "operator",
    [
        Convolution.square(2, 3, 32, 16, 7, 2),
        Convolution(1, 8, (50,), 16, (5,), (2,), (2, 2), (1,)),
        Convolution(1, 8, (20, 30), 16, (3, 3), (1, 2), (2, 2, 2, 2), (2, 2), groups=2, bias=False),
        Linear(4, 30, 10),
        *(samples_of(kind, 1, 0)[0].operator for kind in KERNELS),
    ],
    ids=lambda operator: operator.key,
)
def test_every_operator_is_a_graph_that_the_runtime_takes(operator: Operator, profile: RuntimeProfile) -> None:
    found = made(operator, profile)
    assert any(not is_border(one) and not operator.is_helper(one) for one in found)
    if isinstance(operator, Convolution):
        assert found[-1].outputs[0] == (operator.batch, operator.out_channels, *operator.output)


@dataclass(frozen=True)
class LawPrices(ChecksumPrices):
    """A smooth law of the size of what is made: something that a model can learn."""

    def latency_ms(self, operator: Operator) -> float:
        numbers = [int(text) for text in operator.key.replace("x", " ").split() if text.isdigit()]
        return 1e-3 + 1e-6 * float(np.prod(numbers[-4:], dtype=np.float64)) ** 0.5


class TestNnMeter(OpFormatContract):
    lost = "conv"

    def make_format(self) -> OpFormat:
        return op_format("nn-meter")

    def make_request(self) -> Request:
        return Request(ChecksumPrices(), samples=50)

    def test_every_kind_has_a_model_that_the_reader_finds(self, tmp_path: Path) -> None:
        reader = op_readers.NnMeter(self.make_format().write(self.make_request(), tmp_path)[0])
        assert reader.name == "checksum"
        assert set(reader.models) == set(KERNELS)

    def test_the_reader_adds_up_what_the_models_say(self, tmp_path: Path) -> None:
        reader = op_readers.NnMeter(self.make_format().write(self.make_request(), tmp_path)[0])
        rows = [(kind, one.features) for kind in KERNELS for one in samples_of(kind, 3, 9)]
        alone = [float(reader.models[kind].predict([[*features]])[0]) for kind, features in rows]
        assert min(alone) > 0
        assert reader.predict(rows) == pytest.approx(sum(alone), rel=1e-12)

    def test_features_are_those_that_the_reader_makes(self) -> None:
        for one in samples_of("conv-bn-relu", 20, 1):
            assert isinstance(one.operator, Convolution)
            side, cin, cout, kernel, stride, products, weights = one.features
            assert (side, cin, cout) == (one.operator.size[0], one.operator.in_channels, one.operator.out_channels)
            parameters = cout * (kernel**2 * cin + 1)
            assert weights == parameters / 1e6
            assert products == pytest.approx(2 * (side / stride) ** 2 * parameters / 2e6)
        lengths = {kind: len(samples_of(kind, 1, 0)[0].features) for kind in KERNELS}
        conv, pool = ("conv-bn-relu", "dwconv-bn-relu"), ("maxpool", "avgpool")
        assert {lengths[kind] for kind in conv} == {7}
        assert {lengths[kind] for kind in pool} == {5}
        assert (lengths["fc"], lengths["add"], lengths["concat"], lengths["relu"]) == (4, 3, 6, 2)

    def test_what_a_model_can_learn_it_learns_and_the_side_file_says_how_well(self, tmp_path: Path) -> None:
        request = Request(LawPrices(), samples=600)
        entry, *_, side = self.make_format().write(request, tmp_path)
        told = json.loads(side.read_text())["rows"]["relu"]["held_out_against_the_predictor"]
        assert told["trained_on"] + told["judged_on"] <= 600
        assert told["median_error"] < 0.1
        reader = op_readers.NnMeter(entry)
        unseen = samples_of("relu", 100, 5)
        errors = [
            reader.predict([("relu", one.features)]) / LawPrices().latency_ms(one.operator) - 1.0 for one in unseen
        ]
        assert float(np.median(np.abs(errors))) < 0.1

    def test_long_and_short_kernels_are_learnt_alike(self) -> None:
        """Latencies of five powers of ten, as convolutions have them."""
        dice = np.random.default_rng(0)
        features = np.exp(dice.uniform(0, np.log(1000), (2000, 2)))
        made = distil(features, 1e-3 * features[:, 0] * features[:, 1], seed=0)
        assert made.median_error < 0.05
        assert made.within_tenth > 0.8

    def test_kinds_without_a_price_are_left_out_only_where_that_is_said(self, tmp_path: Path) -> None:
        request = Request(ChecksumPrices(lost="hswish"), samples=50)
        with pytest.raises(GateError, match=r"(?s)1 of 16 kinds.*0 ms.*hswish: it is lost"):
            self.make_format().write(request, tmp_path)
        assert list(tmp_path.iterdir()) == []
        entry, *_, side = self.make_format().write(replace(request, allow_missing=True), tmp_path)
        reader = op_readers.NnMeter(entry)
        assert set(reader.models) == set(KERNELS) - {"hswish"}
        assert reader.predict([("hswish", (28.0, 32.0))]) == 0
        document = json.loads(side.read_text())
        assert document["missing_kernels"] == {"hswish": "it is lost"}
        assert "0 ms" in document["missing_kernels_policy"]

    def test_nothing_at_all_is_refused_whatever_is_said(self, tmp_path: Path) -> None:
        request = Request(AllLost(), samples=50, allow_missing=True)
        with pytest.raises(GateError, match="16 of 16 kinds"):
            self.make_format().write(request, tmp_path)

    def test_a_model_of_an_earlier_export_is_not_left_to_be_loaded(self, tmp_path: Path) -> None:
        self.make_format().write(self.make_request(), tmp_path)
        request = Request(ChecksumPrices(lost="hswish"), samples=50, allow_missing=True)
        with pytest.raises(UsageError, match=r"holds hswish\.pkl, which nn-Meter would load"):
            self.make_format().write(request, tmp_path)

    def test_fusion_rules_are_what_the_runtime_does(self, tmp_path: Path) -> None:
        reader = op_readers.NnMeter(self.make_format().write(self.make_request(), tmp_path)[0])
        assert ("conv", "relu") in reader.fusible
        assert ("add", "relu") not in reader.fusible


@dataclass(frozen=True)
class AllLost(ChecksumPrices):
    """Of a predictor that knows no kernel."""

    def price(self, operators: Sequence[Operator], narrator: Narrator) -> list[OpPrice]:
        return [OpPrice(None, "unsupported", why="nothing is known") for _ in operators]
