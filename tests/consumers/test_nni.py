"""NNI's profilers, filters, penalties and samplers ask a table, and its nn-Meter profiler a trained predictor."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.adapters.labels import arch_of_choices, candidate_choices, depth_choices
from edgecost.costmodels.cost_table import CostTable
from edgecost.costmodels.lut_formats.contract import without
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")  # NNI's own, of its old dependencies


@pytest.fixture(autouse=True)
def _nni(consumer) -> None:
    consumer("nni.nas.oneshot.pytorch.profiler")


def model_space(space: Space, more: dict[str, list[object]] | None = None, *, indices: bool = False):
    """A model space with the choices of a space and no layers."""
    import nni
    from nni.nas.nn.pytorch import ModelSpace

    class Choices(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            for choice in candidate_choices(space):
                values = range(len(choice.values)) if indices else choice.values
                self.add_mutable(nni.choice(choice.label, list(values)))
            for choice in depth_choices(space).values():
                self.add_mutable(nni.choice(choice.label, list(choice.values)))
            for label, values in (more or {}).items():
                self.add_mutable(nni.choice(label, values))

    return Choices()


def drawn(choices, count: int) -> list[dict[str, object]]:
    """Samples as NNI draws them."""
    state = np.random.RandomState(0)
    mutables = choices.simplify()
    return [{label: mutable.random(random_state=state) for label, mutable in mutables.items()} for _ in range(count)]


@pytest.mark.parametrize("name", ["fbnet", "ofa-mobilenetv3", "nasbench201", "darts-cifar"])
def test_every_sample_that_nni_draws_has_the_table_s_price(corrected, name: str) -> None:
    from edgecost.costmodels.adapters.nni_profiler import LutProfiler

    space = load_space(name)
    lut = corrected(space)
    choices = model_space(space)
    profiler = LutProfiler(choices, lut)
    samples = drawn(choices, 40)
    archs = space.check_arch(np.array([arch_of_choices(space, sample) for sample in samples]))
    np.testing.assert_allclose([profiler.profile(sample) for sample in samples], lut.price(archs), rtol=1e-12)
    assert len({arch.tobytes() for arch in archs}) == 40


def test_indices_of_candidates_and_other_labels_are_understood(corrected) -> None:
    import nni
    from nni.nas.nn.pytorch import ModelSpace

    from edgecost.costmodels.adapters.nni_profiler import LutProfiler

    space = load_space("fbnet")
    lut = corrected(space)
    choices = model_space(space, indices=True)
    for arch in space.sample(5, 0):
        sample = {position.label: int(index) for position, index in zip(space.positions, arch, strict=True)}
        assert LutProfiler(choices, lut).profile(sample) == pytest.approx(lut.price(arch[None, :])[0], rel=1e-12)

    class Partial(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            for number, position in enumerate(space.positions):
                self.add_mutable(nni.choice(f"layer{number}", ["skip", position.names[1]]))

    labels = {position.label: f"layer{number}" for number, position in enumerate(space.positions)}
    profiler = LutProfiler(Partial(), lut, labels=labels)
    arch = np.array([[1] * len(space.positions)])
    sample = {f"layer{number}": position.names[1] for number, position in enumerate(space.positions)}
    assert profiler.profile(sample) == pytest.approx(lut.price(arch)[0], rel=1e-12)


def test_what_the_table_does_not_know_is_refused(corrected) -> None:
    from edgecost.costmodels.adapters.nni_profiler import LutProfiler

    space = load_space("ofa-mobilenetv3")
    lut = corrected(space)
    with pytest.raises(UsageError, match="knows nothing of 'dropout'"):
        LutProfiler(model_space(space, {"dropout": [0.1, 0.5]}), lut)
    LutProfiler(model_space(space, {"dropout": [0.1, 0.5]}), lut, ignored=["dropout"])
    with pytest.raises(UsageError, match=r"no choice 'stage1 depth'"):
        LutProfiler(model_space(load_space("fbnet")), lut)
    with pytest.raises(UsageError, match=r"'mine' chooses among \[1, 2\]"):
        LutProfiler(
            model_space(space, {"mine": [1, 2]}), lut, labels={"stage1 depth": "mine"}, ignored=["stage1 depth"]
        )
    lost = space.measurable[7].key
    with pytest.raises(GateError, match=lost):
        LutProfiler(model_space(space), without(lut, lost))


def test_a_filter_keeps_what_is_fast(corrected) -> None:
    from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter

    from edgecost.costmodels.adapters.nni_profiler import LutProfiler

    space = load_space("ofa-mobilenetv3")
    lut = corrected(space)
    choices = model_space(space)
    samples = drawn(choices, 40)
    prices = lut.price(np.array([arch_of_choices(space, sample) for sample in samples]))
    limit = float(np.median(prices))
    fast = RangeProfilerFilter(LutProfiler(choices, lut), max=limit)
    assert [fast(sample) for sample in samples] == (prices <= limit).tolist()


@pytest.mark.parametrize("name", ["fbnet", "ofa-mobilenetv3"])
def test_an_expectation_is_that_of_the_differentiable_cost_and_so_is_its_gradient(corrected, name: str) -> None:
    import torch
    from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty

    from edgecost.costmodels.adapters.nni_profiler import LutProfiler
    from edgecost.costmodels.adapters.torch_cost import ExpectedCost

    space = load_space(name)
    lut = corrected(space)
    penalty = ExpectationProfilerPenalty(LutProfiler(model_space(space), lut), baseline=1e6)
    torch.manual_seed(0)
    alphas = {
        choice.label: torch.randn(len(choice.values), dtype=torch.float64, requires_grad=True)
        for choice in [*candidate_choices(space), *depth_choices(space).values()]
    }
    chances = {label: torch.softmax(alpha, 0) for label, alpha in alphas.items()}
    values = {one.label: one.values for one in [*candidate_choices(space), *depth_choices(space).values()]}
    sample = {label: dict(zip(values[label], chance, strict=True)) for label, chance in chances.items()}
    expected = ExpectedCost(lut)(
        [chances[one.label] for one in candidate_choices(space)],
        [chances[one.label] for one in depth_choices(space).values()] or None,
    )
    found = penalty.profile(sample)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    ours = torch.autograd.grad(expected, list(alphas.values()), retain_graph=True)
    theirs = torch.autograd.grad(found, list(alphas.values()), retain_graph=True)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-7, atol=1e-6 * abs(expected.item()))
    loss, details = penalty(torch.tensor(1.0, dtype=torch.float64), sample)
    assert loss.item() == pytest.approx(1.0 + expected.item() / 1e6 - 1)
    assert details["penalty"].item() == found.item()


def test_a_search_by_gradient_through_nni_s_penalty_finds_the_fastest(corrected) -> None:
    import torch
    from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty

    from edgecost.costmodels.adapters.nni_profiler import LutProfiler

    space = load_space("proxylessnas")
    lut = corrected(space)
    penalty = ExpectationProfilerPenalty(LutProfiler(model_space(space), lut), baseline=float(lut.offset_ms))
    alphas = [torch.zeros(len(one.names), dtype=torch.float64, requires_grad=True) for one in space.positions]
    optimiser = torch.optim.Adam(alphas, lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        sample = {
            one.label: dict(zip(one.names, torch.softmax(alpha, 0), strict=True))
            for one, alpha in zip(space.positions, alphas, strict=True)
        }
        penalty(torch.tensor(0.0, dtype=torch.float64), sample)[0].backward()
        optimiser.step()
    fastest = np.nanargmin(CostTable.of(lut).costs, axis=1)
    assert [int(alpha.argmax()) for alpha in alphas] == fastest.tolist()


class TestOneShot:
    """NNI's own searches, with a supernet of tiny layers and our profiler in them."""

    @pytest.fixture
    def space(self) -> Space:
        return load_space("fbnet")

    @pytest.fixture
    def net(self, space: Space):
        import torch
        from nni.nas.nn.pytorch import LayerChoice, ModelSpace

        class Net(ModelSpace):
            def __init__(self) -> None:
                super().__init__()
                self.layers = torch.nn.ModuleList(
                    LayerChoice({name: torch.nn.Linear(2, 2) for name in position.names}, label=position.label)
                    for position in space.positions
                )

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x

        return Net()

    def search(self, strategy, net, tmp_path: Path) -> None:
        """Trains the supernet a little."""
        import torch
        from nni.nas.evaluator.pytorch import Classification, DataLoader
        from nni.nas.execution import SequentialExecutionEngine
        from nni.nas.space import RawFormatModelSpace

        data = torch.utils.data.TensorDataset(torch.randn(16, 2), torch.randint(0, 2, (16,)))
        loaders = [DataLoader(data, batch_size=4) for _ in range(2)]
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        evaluator = Classification(
            train_dataloaders=loaders[0], val_dataloaders=loaders[1], max_epochs=2, num_classes=2,
            default_root_dir=str(tmp_path), **options,
        )  # fmt: skip
        strategy(RawFormatModelSpace(net, evaluator), SequentialExecutionEngine())

    def test_a_search_trains_only_what_the_filter_lets_through(self, corrected, space, net, tmp_path: Path) -> None:
        from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
        from nni.nas.strategy import RandomOneShot

        from edgecost.costmodels.adapters.nni_profiler import LutProfiler

        lut = corrected(space)
        limit = float(np.median(lut.price(space.sample(200, 0))))
        asked: list[tuple[float, bool]] = []

        class Kept(RangeProfilerFilter):
            def filter(self, sample):
                passed = super().filter(sample)
                price = lut.price(arch_of_choices(space, sample)[None, :])[0]
                asked.append((price, passed))
                return passed

        # What it exports in the end is arbitrary, and NNI does not ask the filter about it.
        self.search(RandomOneShot(filter=Kept(LutProfiler(net, lut), max=limit)), net, tmp_path)
        assert len(asked) >= 16
        assert [passed for _, passed in asked] == [price <= limit for price, _ in asked]

    def test_the_penalty_of_darts_has_no_gradient_as_the_page_says(self, corrected, space, net, tmp_path: Path) -> None:
        from nni.nas.oneshot.pytorch.profiler import ExpectationProfilerPenalty
        from nni.nas.strategy import DARTS

        from edgecost.costmodels.adapters.nni_profiler import LutProfiler

        asked: list[object] = []

        class Kept(ExpectationProfilerPenalty):
            def profile(self, sample):
                asked.append(super().profile(sample))
                return asked[-1]

        self.search(DARTS(penalty=Kept(LutProfiler(net, corrected(space)), baseline=1.0)), net, tmp_path)
        assert asked
        assert {type(one) for one in asked} == {float}, "a tensor would have a gradient: say so on the page"


class TestNnMeter:
    """NNI's ``NnMeterProfiler`` with our predictor in it."""

    @pytest.fixture(autouse=True)
    def _nn_meter(self, consumer, monkeypatch: pytest.MonkeyPatch) -> None:
        from edgecost.costmodels.adapters.nni_profiler import exported

        monkeypatch.setattr(consumer("nni.nas.profiler.pytorch.nn_meter"), "to_onnx", exported)

    @pytest.fixture
    def choices(self):
        """Two kinds of layer between two that are fixed."""
        import torch
        from nni.nas.nn.pytorch import LayerChoice, ModelSpace

        class Net(ModelSpace):
            def __init__(self) -> None:
                super().__init__()
                self.stem = torch.nn.Conv2d(3, 16, 3, padding=1)
                kinds = {"conv3": torch.nn.Conv2d(16, 16, 3, padding=1), "conv1": torch.nn.Conv2d(16, 16, 1)}
                self.layer = LayerChoice(kinds, label="layer")
                self.head = torch.nn.Linear(16, 10)

            def forward(self, x):
                return self.head(self.layer(self.stem(x)).mean((2, 3)))

        return Net()

    @pytest.fixture
    def predictor(self, tmp_path: Path, choices) -> Path:
        """A predictor of three modules and what torch puts around them, by a law of our own."""
        import torch

        from edgecost.costmodels.adapters.nni_profiler import exported
        from edgecost.profiler.kernels.by_runtime import priced_kernels
        from edgecost.profiler.model_file import read_graph
        from edgecost.profiler.runtimes import host_profile

        graphs, inputs = [], torch.zeros(1, 16, 32, 32)
        modules = [torch.nn.Conv2d(16, 8 * k, k % 3 + 1) for k in range(1, 12)]
        for number, module in enumerate([*modules, *[torch.nn.Linear(16, k) for k in range(4, 16)]]):
            given = inputs if number < len(modules) else torch.zeros(1, 16)
            (tmp_path / "one.onnx").write_bytes(exported(module, given).SerializeToString())
            graphs.append(priced_kernels(read_graph(tmp_path / "one.onnx"), host_profile()).kernels)
        latency_ms = [0.01 * (number + 1) for number in range(len(graphs))]
        save_predictor(LatencyPredictor(rounds=20).fit(graphs, latency_ms), tmp_path / "predictor", {})
        return tmp_path / "predictor"

    def test_each_choice_is_the_sum_of_what_the_predictor_says_of_its_modules(self, choices, predictor: Path) -> None:
        import torch
        from nni.nas.profiler.pytorch.nn_meter import NnMeterProfiler

        from edgecost.costmodels.adapters.nn_meter_slot import NnMeterSlot
        from edgecost.costmodels.adapters.nni_profiler import exported

        slot = NnMeterSlot.load(predictor)
        profiler = NnMeterProfiler(choices, torch.zeros(1, 3, 32, 32), slot)
        fixed = slot.predict(exported(choices.stem, torch.zeros(1, 3, 32, 32)))
        fixed += slot.predict(exported(choices.head, torch.zeros(1, 16)))
        for kind, module in choices.layer.named_children():
            alone = slot.predict(exported(module, torch.zeros(1, 16, 32, 32)))
            assert alone > 0
            assert profiler.profile({"layer": kind}) == pytest.approx(fixed + alone)

    def test_a_graph_whose_weights_are_inputs_is_priced_as_with_weights(self, predictor: Path) -> None:
        import onnx
        import torch

        from edgecost.costmodels.adapters.nn_meter_slot import NnMeterSlot
        from edgecost.costmodels.adapters.nni_profiler import exported

        slot = NnMeterSlot.load(predictor)
        for module, given in [
            (torch.nn.Conv2d(16, 32, 3), torch.zeros(1, 16, 32, 32)),
            (torch.nn.Linear(16, 9), torch.zeros(1, 16)),
        ]:
            bare = io.BytesIO()
            torch.onnx.export(module, (given,), bare, export_params=False, opset_version=17, dynamo=False)
            graph = onnx.load_model_from_string(bare.getvalue())
            assert len(graph.graph.input) == 3, "as NNI's own exporter leaves it"
            assert slot.predict(graph) == slot.predict(exported(module, given))

    def test_what_has_no_price_is_an_error_and_not_nothing(self, predictor: Path) -> None:
        import torch

        from edgecost.costmodels.adapters.nn_meter_slot import NnMeterSlot
        from edgecost.costmodels.adapters.nni_profiler import exported

        slot = NnMeterSlot.load(predictor)
        with pytest.raises(GateError, match="no price for"):
            slot.predict(exported(torch.nn.Softplus(), torch.zeros(1, 16)))

    def test_the_example_of_the_page_runs(self, choices, predictor: Path, run_example) -> None:
        import torch

        names = run_example("NNI", None, 1, model_space=choices, torch=torch)
        assert names["latency_ms"] > 0


def test_the_example_of_the_page_runs(corrected, run_example) -> None:
    space = load_space("fbnet")
    names = run_example("NNI", corrected(space))
    first = np.zeros((1, len(space.positions)), dtype=np.int16)
    assert names["latency_ms"] == pytest.approx(names["lut"].price(first)[0], rel=1e-12)
    assert names["is_fast"] is False
    assert all(alpha.grad is not None for alpha in names["alphas"].values())
