"""Tables of models' layers: read by the smallest readers of their grammars; exact, complete, or refused."""

from __future__ import annotations

import json
import pickle
import pickletools
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.costmodels import format_registry, op_formats
from edgecost.costmodels.lut_formats.card import FormatCard
from edgecost.costmodels.op_formats import OpFormat, op_format, op_format_names
from edgecost.costmodels.op_formats.class_pickle import pickled
from edgecost.costmodels.op_formats.contract import ChecksumPrices, OpFormatContract
from edgecost.costmodels.op_formats.haq import bits_name, parse_bits
from edgecost.costmodels.op_formats.model_layers import Layer, ModelLayers, at_batch, read_layers
from edgecost.costmodels.op_formats.operators import Convolution, Linear
from edgecost.costmodels.op_formats.request import Request
from edgecost.profiler.errors import GateError, UsageError
from edgecost.profiler.model_file import read_graph
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.weights import complete
from tests import arch_readers, op_readers
from tests.op_model import CLASSES, LAYERS, write_model

CHECKSUMS = ChecksumPrices()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelLayers:
    return read_layers(write_model(tmp_path_factory.mktemp("ops") / "net.onnx"))


class _OfModel(OpFormatContract):
    @pytest.fixture(autouse=True)
    def _model(self, model: ModelLayers) -> None:
        self.model = model

    def make_request(self) -> Request:
        return Request(CHECKSUMS, models=(self.model,))

    def node(self, op: str, place: int = 0) -> Layer:
        return [layer for layer in self.model.layers if layer.kernel.op == op][place]

    def cost(self, layer: Layer) -> float:
        assert layer.operator is not None
        return CHECKSUMS.latency_ms(layer.operator)


def conv_info(layer: tuple[str, int, int, int, int, int, int], *, bias: bool = True) -> dict[str, object]:
    """PyTorch's arguments of a layer of the test's model."""
    _, cin, out, kernel, stride, groups, _ = layer
    sizes = {"kernel_size": kernel, "stride": stride, "padding": kernel // 2, "dilation": 1}
    pairs = {name: (size, size) for name, size in sizes.items()}
    return {"in_channels": cin, "out_channels": out, **pairs, "groups": groups, "bias": bias}


class TestMobileCv(_OfModel):
    lost = "Conv"

    def make_format(self) -> OpFormat:
        return op_format("mobile-cv")

    def keys(self, *, bias: bool = True, pool: object = 1) -> list[str]:
        convs = [
            op_readers.op_key("Conv2d", conv_info(layer, bias=bias), [(1, layer[1], layer[6], layer[6])])
            for layer in LAYERS
        ]
        pooled = op_readers.op_key("AdaptiveAvgPool2d", {"output_size": pool}, [(1, 24, 16, 16)])
        linear = {"in_features": 24, "out_features": CLASSES, "bias": True}
        return [*convs, pooled, op_readers.op_key("Linear", linear, [(1, 24)])]

    @pytest.mark.parametrize("pool", [1, (1, 1)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_the_reader_gets_the_exact_sum(self, tmp_path: Path, bias: bool, pool: object) -> None:
        table = op_readers.lut_table(self.make_format().write(self.make_request(), tmp_path)[0].read_bytes())
        counted = [layer for layer in self.model.layers if layer.kernel.op in ("Conv", "GlobalAveragePool", "Gemm")]
        expected = sum(self.cost(layer) for layer in counted)
        assert op_readers.lut_query(table, self.keys(bias=bias, pool=pool)) == expected

    def test_the_keys_are_those_of_the_network_and_no_more(self, tmp_path: Path) -> None:
        table = op_readers.lut_table(self.make_format().write(self.make_request(), tmp_path)[0].read_bytes())
        linear = {"in_features": 24, "out_features": CLASSES, "bias": False}
        both = {*self.keys(), *self.keys(bias=False), *self.keys(pool=(1, 1))}
        assert set(table) == {*both, op_readers.op_key("Linear", linear, [(1, 24)])}

    def test_an_operator_that_was_removed_is_an_assertion_of_the_reader(self, tmp_path: Path) -> None:
        table = op_readers.lut_table(self.make_format().write(self.make_request(), tmp_path)[0].read_bytes())
        del table[self.keys()[2]]
        with pytest.raises(AssertionError, match="Op does not existed"):
            op_readers.lut_query(table, self.keys())

    def test_the_pickle_names_only_the_reader_s_classes(self, tmp_path: Path) -> None:
        content = self.make_format().write(self.make_request(), tmp_path)[0].read_bytes()
        named = {str(argument).split()[0] for code, argument, _ in pickletools.genops(content) if code.name == "GLOBAL"}
        assert named == {"mobile_cv.lut.lib.lut_schema", "mobile_cv.lut.lib.lut_ops"}

    def test_two_models_make_one_table(self, tmp_path: Path) -> None:
        other = read_layers(write_model(tmp_path / "other.onnx", batch=2))
        request = Request(CHECKSUMS, models=(self.model, other))
        one = op_readers.lut_table(self.make_format().write(self.make_request(), tmp_path / "1")[0].read_bytes())
        both = op_readers.lut_table(self.make_format().write(request, tmp_path / "2")[0].read_bytes())
        assert set(one) < set(both)
        assert len(both) == 2 * len(one)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.lists(st.integers()).map(tuple)
    ),
)


@given(plain)
def test_a_pickle_without_classes_reads_back_as_it_was(value: object) -> None:
    assert arch_readers.plain_pickle(pickled(value)) == value  # type: ignore[arg-type]


def proto(name: str, *values: object) -> str:
    field = "ints" if len(values) > 1 else "i"
    return f'name: "{name}"\n' + "".join(f"{field}: {value}\n" for value in values)


class TestRuntimeLut(_OfModel):
    lost = "Conv"

    def make_format(self) -> OpFormat:
        return op_format("runtime-lut")

    def queries(self) -> list[dict[str, object]]:
        """What Caffe2 would ask of the network, from the network's description."""
        found = []
        for _, cin, out, kernel, stride, groups, side in LAYERS:
            pad = kernel // 2
            names = ["dilations", "group", "kernels", "pads", "strides"]
            values = [(1, 1), (groups,), (kernel, kernel), (pad,) * 4, (stride, stride)]
            shapes = [[1, cin, side, side], [out, cin // groups, kernel, kernel], [out]]
            found.append(("Conv", [proto(name, *value) for name, value in zip(names, values, strict=True)], shapes))
        found += [("Relu", [], [[1, channels, 16, 16]]) for channels in (16, 16, 24)]
        found.append(("Add", [], [[1, 24, 16, 16]] * 2))
        found.append(("AveragePool", [proto("global_pooling", 1)], [[1, 24, 16, 16]]))
        found.append(("Flatten", [proto("axis", 1)], [[1, 24, 1, 1]]))
        found.append(("FC", [], [[1, 24], [CLASSES, 24], [CLASSES]]))
        names = ("op_type", "op_args", "input_shapes")
        return [
            {**dict(zip(names, one, strict=True)), "input_dtypes": [1] * len(one[2])}
            for one in found  # type: ignore[arg-type]
        ]

    def test_the_reader_finds_all_and_gets_the_exact_sum_in_microseconds(self, tmp_path: Path) -> None:
        self.make_format().write(self.make_request(), tmp_path)
        total, all_found = op_readers.runtime_us(tmp_path, self.queries(), "checksum")
        assert all_found
        assert total == 1000 * sum(self.cost(layer) for layer in self.model.layers)

    def test_only_p50_is_known(self, tmp_path: Path) -> None:
        file, side = self.make_format().write(self.make_request(), tmp_path)
        for line in file.read_text().splitlines():
            record = json.loads(line)
            assert record["runtime_us_p50"] > 0
            assert [record[f"runtime_us_p{percent}"] for percent in (0, 10, 90, 100)] == [None] * 4
        assert "null" in json.loads(side.read_text())["percentiles"]

    def test_a_line_that_was_removed_is_a_network_that_is_not_found(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        file.write_text("\n".join(file.read_text().splitlines()[1:]) + "\n")
        assert not op_readers.runtime_us(tmp_path, self.queries(), "checksum")[1]

    def test_eight_bits_have_channels_last_and_types_of_their_own(self, tmp_path: Path) -> None:
        request = replace(self.make_request(), prices=ChecksumPrices(precision="int8-qdq"))
        file = self.make_format().write(request, tmp_path)[0]
        first = json.loads(file.read_text().splitlines()[0])
        assert first["op_type"] == "Int8Conv"
        assert first["input_shapes"] == [[1, 32, 32, 3], [16, 3, 3, 3], [16]]
        assert first["input_dtypes"] == [4, 5, 2]
        assert 'name: "order"\ns: "NHWC"\n' in first["op_args"]

    def test_bounds_of_a_clip_are_arguments(self, tmp_path: Path) -> None:
        clipped = read_layers(write_model(tmp_path / "clip.onnx", clip=True))
        file = self.make_format().write(Request(CHECKSUMS, models=(clipped,)), tmp_path)[0]
        (clip,) = [json.loads(line) for line in file.read_text().splitlines() if '"Clip"' in line]
        assert clip["op_args"] == ['name: "max"\nf: 6.0\n', 'name: "min"\nf: 0.0\n']

    def test_a_node_without_a_row_is_named(self, tmp_path: Path) -> None:
        odd = replace(self.node("Relu"), kernel=replace(self.node("Relu").kernel, op="Erf"))
        with pytest.raises(GateError, match=r"no rows for Erf \(1\)"):
            self.make_format().write(Request(CHECKSUMS, models=(ModelLayers("net", (odd,)),)), tmp_path)


class TestNetAdapt(_OfModel):
    def make_format(self) -> OpFormat:
        return op_format("netadapt")

    def cost_s(self, name: str, cin: int, out: int) -> float:
        if name == "classifier":
            return CHECKSUMS.latency_ms(Linear(4, cin, out)) * 0.001
        _, _, _, kernel, stride, groups, side = next(layer for layer in LAYERS if layer[0] == name)
        groups = cin if groups > 1 else 1
        return CHECKSUMS.latency_ms(Convolution.square(4, cin, side, out, kernel, stride, groups=groups)) * 0.001

    def test_the_reader_gets_the_exact_sum_of_networks_on_the_grid(self, tmp_path: Path) -> None:
        content = self.make_format().write(self.make_request(), tmp_path)[0].read_bytes()
        whole = {name: (cin, out) for name, cin, out, *_ in LAYERS} | {"classifier": (24, CLASSES)}
        thin = {**whole, "features.1": (8, 8), "features.2": (8, 16), "features.3": (16, 24)}
        for network in (whole, thin):
            expected = sum(self.cost_s(name, *pair) for name, pair in network.items())
            assert op_readers.netadapt_seconds(content, network) == pytest.approx(expected, rel=1e-12)

    def test_between_the_grid_s_channels_the_reader_puts_a_surface(self, tmp_path: Path) -> None:
        content = self.make_format().write(self.make_request(), tmp_path)[0].read_bytes()
        assert np.isfinite(op_readers.netadapt_seconds(content, {"features.3": (20, 24)}))

    def test_the_pairs_are_the_reader_s_own_steps(self, tmp_path: Path) -> None:
        content = self.make_format().write(self.make_request(), tmp_path)[0].read_bytes()
        table = arch_readers.plain_pickle(content)
        assert isinstance(table, dict)
        assert {name: sorted(row["latency"]) for name, row in table.items()} == {
            "features.0": [(3, 8), (3, 16)],
            "features.1": [(8, 8), (16, 16)],
            "features.2": [(cin, out) for cin in (8, 16) for out in (8, 16, 24)],
            "features.3": [(cin, out) for cin in (8, 16, 24) for out in (8, 16, 24)],
            "classifier": [(24, CLASSES)],
        }

    def test_a_layer_that_was_removed_stops_the_reader(self, tmp_path: Path) -> None:
        table = arch_readers.plain_pickle(self.make_format().write(self.make_request(), tmp_path)[0].read_bytes())
        assert isinstance(table, dict)
        del table["features.2"]
        with pytest.raises(ValueError, match=r"features\.2 in network def not found"):
            op_readers.netadapt_seconds(pickle.dumps(table), {"features.2": (16, 24)})

    def test_one_model_is_one_model(self, tmp_path: Path) -> None:
        for models in ((), (self.model, self.model)):
            with pytest.raises(UsageError, match=f"one ONNX file; {len(models)} were given"):
                self.make_format().write(Request(CHECKSUMS, models=models), tmp_path)


class TestHaq(_OfModel):
    lost = "linear"

    def make_format(self) -> OpFormat:
        return op_format("haq")

    def make_request(self) -> Request:
        eight, four = (ChecksumPrices(salt=salt, precision="int8-qdq") for salt in ("8", "4"))
        return Request(CHECKSUMS, models=(self.model,), by_bits={(8, 8): eight, (4, 8): four})

    def layer_ms(self, place: int, salt: str) -> float:
        return ChecksumPrices(salt=salt).latency_ms(at_batch(self.model.weighted[place], 16))

    def test_the_reader_gets_the_exact_sum_at_the_widths_that_exist(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        assert file.name == "net_imagenet_batch16_latency_table.npy"
        strategy = [(8, 8), (4, 6), (2, 2), (6, 8), (8, 8)]
        salts = ["8", "4", "4", "8", "8"]
        expected = sum(self.layer_ms(place, salt) for place, salt in enumerate(salts))
        assert op_readers.haq_cost(file, strategy) == expected

    def test_layers_are_convolutions_and_fully_connected_ones_in_order(self, tmp_path: Path) -> None:
        side = self.make_format().write(self.make_request(), tmp_path)[-1]
        assert json.loads(side.read_text())["layers"] == [*(layer[0] for layer in LAYERS), "classifier"]

    def test_the_image_s_column_holds_the_number_of_eight_bits(self, tmp_path: Path) -> None:
        table = np.load(self.make_format().write(self.make_request(), tmp_path)[0])
        np.testing.assert_array_equal(table[0, :, 6], table[0, :, 7])

    def test_without_other_predictors_every_width_costs_what_float_costs(self, tmp_path: Path) -> None:
        file, side = self.make_format().write(Request(CHECKSUMS, models=(self.model,)), tmp_path)
        table = np.load(file)
        for place, layer in enumerate(table):
            assert set(layer.flat) == {self.layer_ms(place, "")}
        assert set(json.loads(side.read_text())["runs_as"].values()) == {"W32A32"}

    def test_a_layer_less_is_what_the_reader_notices(self, tmp_path: Path) -> None:
        file = self.make_format().write(self.make_request(), tmp_path)[0]
        np.save(file, np.load(file)[1:])
        with pytest.raises(AssertionError):
            op_readers.haq_cost(file, [(8, 8)] * 5)


@given(st.sets(st.tuples(st.integers(1, 16), st.integers(1, 16)), max_size=4))
def test_every_width_runs_as_the_narrowest_that_holds_it(
    tmp_path_factory: pytest.TempPathFactory, model: ModelLayers, known: set[tuple[int, int]]
) -> None:
    prices = {bits: ChecksumPrices(salt=bits_name(bits)) for bits in known}
    side = op_format("haq").write(Request(CHECKSUMS, models=(model,), by_bits=prices), tmp_path_factory.mktemp("haq"))[
        -1
    ]
    runs_as = json.loads(side.read_text())["runs_as"]
    assert len(runs_as) == 64
    for name, wider in runs_as.items():
        (weights, activations), found = parse_bits(name), parse_bits(wider)
        assert found[0] >= weights
        assert found[1] >= activations
        fitting = [bits for bits in {*known, (32, 32)} if bits[0] >= weights and bits[1] >= activations]
        assert sum(found) == min(map(sum, fitting))


def test_layers_have_the_names_that_pytorch_gave_them(model: ModelLayers) -> None:
    assert [layer.name for layer in model.weighted] == [*(layer[0] for layer in LAYERS), "classifier"]


def test_a_model_that_has_a_precision_already_is_refused(tmp_path: Path) -> None:
    quantised = convert(read_graph(write_model(tmp_path / "net.onnx")), "int8-qdq")
    (tmp_path / "int8.onnx").write_bytes(complete(quantised.skeleton, quantised.weights))
    with pytest.raises(UsageError, match="is quantised"):
        read_layers(tmp_path / "int8.onnx")


def test_padding_that_the_runtime_works_out_is_refused(tmp_path: Path, model: ModelLayers) -> None:
    (first, *_) = model.weighted
    attributes = (*first.kernel.attributes, ("auto_pad", "SAME_UPPER"))
    odd = ModelLayers("net", (replace(first, kernel=replace(first.kernel, attributes=attributes)),))
    for name in ("mobile-cv", "runtime-lut", "haq", "netadapt"):
        with pytest.raises(UsageError, match=r"padding of features\.0 is SAME_UPPER"):
            op_format(name).write(Request(CHECKSUMS, models=(odd,)), tmp_path)


class Plugin:
    """What a plugin's author writes."""

    name = "plugin"
    card = FormatCard("a plugin's reader", "nobody")

    def write(self, request: Request, folder: Path) -> list[Path]:
        return []


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("edgecost_test_plugin")
    module.Plugin, module.wrong = Plugin, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgecost_test_plugin", module)
    objects = {"plugin": "Plugin", "wrong": "wrong", "haq": "wrong"}
    points = [EntryPoint(name, f"edgecost_test_plugin:{what}", op_formats.GROUP) for name, what in objects.items()]
    monkeypatch.setattr(format_registry, "entry_points", lambda group: points if group == op_formats.GROUP else [])
    assert isinstance(op_format("plugin"), Plugin)
    assert op_format("haq").name == "haq"
    with pytest.raises(UsageError, match="members"):
        op_format("wrong")
    for name in op_format_names():
        if name not in ("wrong", "plugin"):
            assert op_format(name).card.reader
