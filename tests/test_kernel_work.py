"""The work of a kernel against numbers worked out by hand, against ONNX's own definitions, and against networks."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import onnx.defs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, shape_inference
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from edgecost.costmodels.kernel_work import filter_of, kind_of, no_price, work_of
from edgecost.costmodels.work_rules.attention import ATTENTION
from edgecost.costmodels.work_rules.contractions import CONTRACTIONS
from edgecost.costmodels.work_rules.elementwise import ELEMENTWISE
from edgecost.costmodels.work_rules.movement import MOVEMENT
from edgecost.costmodels.work_rules.reductions import REDUCTIONS
from edgecost.costmodels.work_rules.signals import SIGNALS, fourier
from edgecost.costmodels.work_rules.table import RULES, plain_name, rule_of
from edgecost.costmodels.work_rules.widths import width_bytes, widths_of
from edgecost.costmodels.work_rules.windows import WINDOWS
from edgecost.profiler.graphs.networks import bert, mobilenet_v2, resnet18, vit
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.recurrent_operators import gru, lstm
from edgecost.profiler.graphs.vision_operators import resize, transposed_conv, valid_pool
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.precision.macs import count_macs
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.workload import Workload, workload_from_model

Shapes = tuple[tuple[int, ...], ...]
SIZES = st.integers(1, 40)
#: Contributed operators of the CPU that have no rule: their work is assumed, and said to be.
ASSUMED = set(
    "BifurcationDetector DynamicTimeWarping EngramGate GatedDeltaNet HyperConnectionPostMix HyperConnectionPreMix "
    "LinearAttentionGate MoE MoEGroupRouter MurmurHash3 NGramHashMapping QMoE SampleOp VarlenCausalConvWithState "
    "VarlenNGramHashMapping WordConvEmbedding".split()
)
#: Products, by which the multiply-adds of a network are counted.
PRODUCTS = set(
    "Conv ConvInteger QLinearConv FusedConv ConvTranspose Gemm FusedGemm QGemm MatMul FusedMatMul MatMulInteger "
    "QLinearMatMul".split()
)


def kernel(
    op: str, inputs: Shapes, weights: Shapes, outputs: Shapes, dtype: str = "float32", **attributes: str
) -> Kernel:
    return Kernel(op, inputs, weights, outputs, tuple(sorted(attributes.items())), dtype)


def operations(one: Kernel) -> float:
    return work_of(one).mega_flops * 1e6


X, W = (2, 8, 10, 10), (16, 8, 3, 3)
Y = (2, 16, 8, 8)
CONV = 2 * 2 * 16 * 8 * 8 * (8 * 3 * 3)
QUANTISED = ((), (), W, (16,), (16,), (), (), (16,))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        # Convolutions: constant or fed filter, with a residual sum, 8 bits, channels last, groups, one and three axes.
        (kernel("Conv", (X,), (W, (16,)), (Y,)), CONV),
        (kernel("Conv", (X, W), (), (Y,)), CONV),
        (kernel("microsoft.FusedConv", (X, Y), (W, (16,)), (Y,), activation="Relu"), CONV),
        (kernel("microsoft.QLinearConv", (X,), QUANTISED, (Y,), "int8"), CONV),
        (kernel("QLinearConv", (X, (), (), W, (16,), (16,), (), ()), (), (Y,)), CONV),
        (kernel("microsoft.NhwcFusedConv", ((2, 10, 10, 8),), (W,), ((2, 8, 8, 16),), "float16"), CONV),
        (kernel("ConvInteger", (X, W, (), ()), (), (Y,)), CONV),
        (kernel("Conv", ((1, 8, 10, 10),), ((8, 1, 3, 3),), ((1, 8, 8, 8),), group="8"), 2 * 8 * 64 * 9),
        (kernel("Conv", ((1, 4, 9),), ((6, 2, 3),), ((1, 6, 7),), group="2"), 2 * 6 * 7 * 2 * 3),
        (kernel("Conv", ((1, 4, 5, 5, 5),), ((6, 4, 3, 3, 3),), ((1, 6, 3, 3, 3),)), 2 * 6 * 27 * 4 * 27),
        (kernel("ConvTranspose", ((1, 8, 5, 5),), ((8, 4, 2, 2),), ((1, 4, 10, 10),)), 2 * 8 * 25 * 4 * 4),
        (kernel("DeformConv", ((1, 1, 3, 3), (1, 1, 2, 2), (1, 8, 2, 2)), (), ((1, 1, 2, 2),)), 2 * 4 * 4 + 13 * 16),
        (kernel("CausalConvWithState", ((2, 4, 9), (4, 1, 3), (4,)), (), ((2, 4, 9), (2, 4, 2))), 2 * 72 * 3),
        # Products.
        (kernel("Gemm", ((3, 5),), ((7, 5), (7,)), ((3, 7),), transB="1"), 2 * 3 * 7 * 5),
        (kernel("Gemm", ((5, 3), (5, 7), (3, 7)), (), ((3, 7),), transA="1"), 2 * 3 * 7 * 5),
        (kernel("Gemm", ((5, 7),), ((3, 5), (3, 7)), ((3, 7),)), 2 * 3 * 7 * 5),
        (kernel("MatMul", ((2, 3, 4, 5), (5, 6)), (), ((2, 3, 4, 6),)), 2 * 144 * 5),
        (kernel("MatMul", ((5,), (5, 6)), (), ((6,),)), 2 * 6 * 5),
        (kernel("MatMul", ((4, 5), (5,)), (), ((4,),)), 2 * 4 * 5),
        (kernel("MatMul", ((5,), (5,)), (), ((),)), 2 * 5),
        (kernel("microsoft.FusedMatMul", ((2, 4, 5), (2, 6, 5)), (), ((2, 4, 6),), transB="1"), 2 * 48 * 5),
        (kernel("microsoft.FusedMatMul", ((4, 2, 5), (2, 5, 6)), (), ((2, 4, 6),), transBatchA="1"), 2 * 48 * 5),
        (kernel("MatMulInteger", ((4, 5), (5, 6), (), ()), (), ((4, 6),)), 2 * 24 * 5),
        (kernel("QLinearMatMul", ((4, 5), (), (), (5, 6), (6,), (6,), (), ()), (), ((4, 6),)), 2 * 24 * 5),
        (kernel("microsoft.QGemm", ((4, 5),), ((), (), (5, 6), (), (), (6,), (), ()), ((4, 6),), "int8"), 2 * 24 * 5),
        (
            kernel("microsoft.MatMulNBits", ((4, 64),), ((9, 2, 16), (18,)), ((4, 9),), "uint8", K="64", N="9"),
            2 * 36 * 64,
        ),
        (kernel("LSTM", ((7, 2, 12),), ((1, 64, 12), (1, 64, 16), (1, 128)), ((7, 1, 2, 16),)), 2 * 14 * 64 * 28),
        (kernel("GRU", ((7, 2, 12), (2, 48, 12), (2, 48, 16)), (), ((7, 2, 2, 16),)), 2 * 14 * 96 * 28),
        (kernel("RNN", ((7, 2, 12), (2, 3, 12)), ((1, 16, 12), (1, 16, 16)), ((7, 1, 2, 16),)), 2 * 14 * 16 * 28),
        (kernel("Einsum", ((3, 4), (4, 5)), (), ((3, 5),), equation="ij,jk->ik"), 2 * 60),
        (kernel("Einsum", ((2, 3, 4), (2, 4, 5)), (), ((2, 3, 5),), equation="...ij, ...jk -> ...ik"), 2 * 120),
        (kernel("Einsum", ((3,), (4,)), (), ((3, 4),), equation="i,j->ij"), 12),
        (kernel("Einsum", ((3, 4),), (), ((3,),), equation="ij->i"), 12),
        # Attention: 2 heads of width 4, 5 queries, 6 keys, values of width 3.
        (kernel("Attention", ((1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 3)), (), ((1, 2, 5, 3),)), 60 * (8 + 5 + 6)),
        (kernel("Attention", ((1, 5, 8), (1, 6, 8), (1, 6, 6)), (), ((1, 5, 6),), q_num_heads="2"), 60 * (8 + 5 + 6)),
        (
            kernel("Attention", ((1, 2, 5, 4), *[(1, 2, 6, 4)] * 2, *[(1, 2, 7, 4)] * 2), (), ((1, 2, 5, 4),)),
            2 * 5 * 13 * 21,
        ),
        (kernel("microsoft.Attention", ((1, 5, 8),), ((8, 24), (24,)), ((1, 5, 8),), num_heads="2"), 1920 + 50 * 21),
        (
            kernel("microsoft.MultiHeadAttention", ((1, 5, 8), (1, 6, 8), (1, 6, 8)), (), ((1, 5, 8),), num_heads="2"),
            1260,
        ),
        (
            kernel(
                "microsoft.GroupQueryAttention",
                ((1, 1, 8), (1, 1, 4), (1, 1, 4), (1, 1, 9, 4), (1, 1, 9, 4), (1,), ()),
                (),
                ((1, 1, 8), (1, 1, 10, 4), (1, 1, 10, 4)),
                num_heads="2",
            ),
            20 * 21,
        ),
        # Pools, resampling, norms, reductions, transforms.
        (kernel("MaxPool", ((1, 3, 8, 8),), (), ((1, 3, 4, 4),), kernel_shape="3x3"), 48 * 9),
        (kernel("nchwc.GlobalAveragePool", ((1, 16, 7, 7),), (), ((1, 16, 1, 1),)), 16 * 49),
        (kernel("Resize", ((1, 3, 4, 4),), ((4,),), ((1, 3, 8, 8),), mode="linear"), 192 * 2 * 4),
        (kernel("Resize", ((1, 3, 4, 4),), ((4,),), ((1, 3, 8, 8),), mode="nearest"), 0),
        (kernel("Softmax", ((4, 10),), (), ((4, 10),)), 5 * 40),
        (kernel("microsoft.SkipLayerNormalization", ((1, 4, 10),) * 2, ((10,), (10,)), ((1, 4, 10),)), 8 * 40),
        (kernel("ReduceSum", ((4, 10),), ((1,),), ((4, 1),)), 40),
        (kernel("DFT", ((1, 8, 1),), (), ((1, 8, 2),), axis="1"), 5 * 8 * 3),
        (kernel("DFT", ((2, 3, 16, 2),), (), ((2, 3, 16, 2),)), 6 * 5 * 16 * 4),
        (kernel("STFT", ((1, 128, 1), (), (16,), ()), (), ((1, 15, 9, 2),)), 15 * (16 + 5 * 16 * 4)),
        (kernel("Mean", ((4,),) * 3, (), ((4,),)), 12),
        (kernel("Sigmoid", ((4,),), (), ((4,),)), 16),
        (kernel("ScatterND", ((9, 4), (2, 1), (2, 4)), (), ((9, 4),), reduction="add"), 8),
        (kernel("ml.LinearRegressor", ((5, 3),), (), ((5, 1),), coefficients="1x2x3"), 2 * 5 * 3),
        # Functions that TVM fused.
        (kernel("tvm.conv2d+add+relu", (X,), (W, (1, 16, 1, 1)), (Y,)), CONV),
        (kernel("tvm.transpose+matmul", ((3, 5),), ((5, 7),), ((3, 7),)), 2 * 3 * 7 * 5),
        (kernel("tvm.multiply+add", ((3, 5), (3, 5)), (), ((3, 5),)), 30),
    ],
    ids=lambda value: value.op if isinstance(value, Kernel) else "",
)
def test_operations_are_those_worked_out_by_hand(one: Kernel, expected: int) -> None:
    assert operations(one) == pytest.approx(expected)


@given(m=SIZES, n=SIZES, k=SIZES, batch=st.lists(st.integers(1, 5), max_size=2), data=st.data())
def test_a_product_costs_the_same_however_its_operands_lie(
    m: int, n: int, k: int, batch: list[int], data: st.DataObject
) -> None:
    left = data.draw(st.sampled_from([(m, k), (k, m)]))
    right = data.draw(st.sampled_from([(k, n), (n, k)]))
    operands: Shapes = ((*batch, *left), (*batch, *right))
    held = data.draw(st.sampled_from([0, 1, 2]))
    inputs, weights = {0: (operands, ()), 1: (operands[:1], operands[1:]), 2: (operands[1:], operands[:1])}[held]
    result = (*batch, m, n)
    made = operations(kernel("microsoft.FusedMatMul", inputs, weights, (result,)))
    assert made == pytest.approx(2 * math.prod(result) * k)


@given(groups=st.integers(1, 4), c=st.integers(1, 6), o=st.integers(1, 6), k=st.integers(1, 3), size=st.integers(3, 9))
def test_a_convolution_and_its_transpose_cost_the_same(groups: int, c: int, o: int, k: int, size: int) -> None:
    wide, narrow = (1, c * groups, size, size), (1, o * groups, size - k + 1, size - k + 1)
    shape = (o * groups, c, k, k)
    forwards = kernel("Conv", (wide,), (shape,), (narrow,), group=str(groups))
    backwards = kernel("ConvTranspose", (narrow,), (shape,), (wide,), group=str(groups))
    assert operations(forwards) == pytest.approx(2 * math.prod(narrow) * c * k * k)
    assert operations(backwards) == pytest.approx(operations(forwards))


@given(sizes=st.lists(st.integers(1, 6), min_size=4, max_size=4), order=st.permutations("abcd"))
def test_einsum_of_two_factors_is_a_matrix_product(sizes: list[int], order: list[str]) -> None:
    extent = dict(zip("abcd", sizes, strict=True))
    i, j, k, b = order
    terms = (b + i + j, b + j + k, b + i + k)
    shapes = [tuple(extent[label] for label in term) for term in terms]
    one = kernel("Einsum", tuple(shapes[:2]), (), (shapes[2],), equation=f"{terms[0]},{terms[1]}->{terms[2]}")
    assert operations(one) == pytest.approx(2 * math.prod(shapes[2]) * extent[j])


@given(length=st.integers(2, 4000))
def test_a_transform_costs_more_than_its_length_and_far_less_than_its_square(length: int) -> None:
    assert 5 * length <= fourier(length) <= 5 * 16 * length * (math.log2(length) + 3)


@given(
    op=st.sampled_from(["Conv", "MaxPool", "Softmax", "LayerNormalization", "Add", "Resize", "ReduceMean", "Gelu"]),
    batch=st.integers(1, 9),
    channels=st.sampled_from([4, 8, 24]),
)
def test_work_grows_with_the_batch(op: str, batch: int, channels: int) -> None:
    def one(n: int) -> Kernel:
        target = (n, channels, 4, 4)
        weights = ((channels, channels, 3, 3),) if op == "Conv" else ()
        return kernel(op, ((n, channels, 6, 6),), weights, (target,), kernel_shape="3x3", mode="linear")

    single, several = work_of(one(1)), work_of(one(batch))
    assert several.mega_flops == pytest.approx(batch * single.mega_flops)
    assert several.input_megabytes == pytest.approx(batch * single.input_megabytes)
    assert several.output_megabytes == pytest.approx(batch * single.output_megabytes)
    assert several.weight_megabytes == single.weight_megabytes


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("resnet18", "fp32"),
        ("resnet18", "int8-qdq"),
        ("mobilenet_v2", "int8-qoperator"),
        ("vit", "fp32"),
        ("bert", "fp32"),
    ],
)
def test_the_products_of_a_network_are_its_multiply_adds_after_any_fusion(
    name: str, precision: str, profile: RuntimeProfile
) -> None:
    """What the optimiser makes of a network must do the work that is written in it, as 8 bits or as floats."""
    networks = {
        "resnet18": lambda: resnet18(64),
        "mobilenet_v2": lambda: mobilenet_v2(64),
        "vit": lambda: vit(2, 48, 3, patch=16, resolution=64),
        "bert": lambda: bert(2, 64, 2, length=16),
    }
    written = networks[name]().workload()
    graph = kernels(convert(written, precision), profile)
    made = sum(operations(one) for one in graph if plain_name(one.op) in PRODUCTS)
    assert made == pytest.approx(2 * multiply_adds(written), rel=1e-9)
    assert "assumed" not in {work_of(one).basis for one in graph}
    assert None not in [kind_of(one) for one in graph]


def multiply_adds(workload: Workload) -> int:
    model = onnx.load_model_from_string(workload.skeleton)
    for weight in workload.weights:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(weight.dtype))
        model.graph.input.append(helper.make_tensor_value_info(weight.name, kind, weight.shape))
    model = shape_inference.infer_shapes(model, data_prop=True)
    for place, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{place}"
    counted = count_macs(model).values()
    assert None not in counted
    return sum(count for count in counted if count is not None)


def test_kernels_of_built_operators_cost_what_their_formulas_say(profile: RuntimeProfile) -> None:
    def built(make: object, shape: tuple[int, ...], *arguments: object, **named: object) -> float:
        graph = GraphBuilder("operator")
        y = make(graph, graph.input(shape), *arguments, **named)  # type: ignore[operator]
        workload = workload_from_model("operator", "operator", graph.model(y), tuple(graph.weights))
        return sum(operations(one) for one in kernels(workload, profile))

    assert built(lstm, (7, 2, 12), 16) == pytest.approx(2 * 14 * 64 * 28)
    assert built(gru, (7, 2, 12), 16, bidirectional=True) == pytest.approx(2 * 14 * 2 * 48 * 28)
    assert built(transposed_conv, (1, 8, 5, 5), 4, kernel=2, stride=2) == pytest.approx(2 * 200 * 4 * 4)
    assert built(resize, (1, 3, 4, 4), (8, 8), "linear") == pytest.approx(192 * 2 * 4)
    assert built(valid_pool, (1, 3, 8, 8), kernel=2, stride=2, kind="max") == pytest.approx(48 * 4)


def test_every_operator_of_the_standard_has_a_rule_or_a_reason() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert not {name for name in names if name not in RULES and no_price(Kernel(name, (), (), ((1,),))) is None} - {
        # Gone since opset 1 or never more than an experiment.
        *"ATen Affine ConstantFill Crop DynamicSlice GRUUnit GivenTensorFill ImageScaler LSTMUnit".split(),
        *"ParametricSoftplus Scale ScaledTanh".split(),
    }


def test_contributed_operators_without_a_rule_are_those_of_the_list() -> None:
    made = {
        entry.op_name
        for entry in runtime.get_all_opkernel_def()
        if entry.provider == "CPUExecutionProvider" and entry.domain == "com.microsoft"
    }
    unruled = {name for name in made if no_price(Kernel(f"microsoft.{name}", (), (), ((1,),))) is None}
    assert {name for name in unruled if rule_of(f"microsoft.{name}").basis == "assumed"} <= ASSUMED


def test_an_operator_that_nobody_knows_is_assumed_and_says_so() -> None:
    work = work_of(kernel("acme.Conv", ((1, 8, 4, 4),), ((8, 8, 3, 3),), ((1, 8, 4, 4),)))
    assert work.basis == "assumed"
    assert work.mega_flops * 1e6 == 576


@pytest.mark.parametrize(
    ("one", "basis"),
    [
        (kernel("NonZero", ((3, 4),), (), ((2, 12),)), "upper_bound"),
        (kernel("NonMaxSuppression", ((1, 100, 4), (1, 3, 100)), (), ((30, 3),)), "upper_bound"),
        (kernel("TopK", ((1, 100), (1,)), (), ((1, 5), (1, 5))), "upper_bound"),
        (kernel("RoiAlign", ((1, 2, 9, 9), (3, 4), (3,)), (), ((3, 2, 4, 4),)), "lower_bound"),
    ],
)
def test_where_data_decide_the_work_is_a_bound_and_not_nothing(one: Kernel, basis: str) -> None:
    work = work_of(one)
    assert (work.basis, work.mega_flops > 0) == (basis, True)


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (kernel("If", ((),), (), ((1, 8),)), "subgraph"),
        (kernel("Loop", ((), (), (1, 8)), (), ((1, 8),)), "subgraph"),
        (kernel("SequenceAt", ((1, 8), ()), (), ((1, 8),)), "no tensors"),
        (kernel("StringConcat", ((8,), (8,)), (), ((8,),)), "size"),
        (kernel("ml.LabelEncoder", ((8,),), (), ((8,),), keys_strings=""), "size"),
        (Kernel("Add", ((1, 8), None), (), ((1, 8),)), "shape"),
        (Kernel("Add", ((1, 8),), (), (None,)), "shape"),
        (Kernel("Add", ((1, 8),), (), ()), "writes nothing"),
    ],
)
def test_what_has_no_price_says_why_and_its_work_is_a_lower_bound(one: Kernel, why: str) -> None:
    assert why in str(no_price(one))
    assert kind_of(one) is None
    assert work_of(one).basis == "lower_bound"


def test_a_table_that_is_looked_up_is_not_read_whole() -> None:
    lookup = work_of(kernel("Gather", ((1, 16),), ((30522, 128),), ((1, 16, 128),)))
    assert lookup.weight_megabytes * 1e6 == 4 * 16 * 128
    assert lookup.input_megabytes * 1e6 == 8 * 16
    cut = work_of(kernel("Slice", ((1, 1000, 8),), ((1,), (1,)), ((1, 10, 8),)))
    assert cut.input_megabytes * 1e6 == 4 * 80
    assert work_of(kernel("Shape", ((1, 1000, 8),), (), ((3,),))).input_megabytes == 0


def test_bytes_are_as_wide_as_the_operator_says() -> None:
    conv = work_of(kernel("microsoft.QLinearConv", (X,), QUANTISED, (Y,), "int8"))
    assert conv.input_megabytes * 1e6 == math.prod(X)
    assert conv.output_megabytes * 1e6 == math.prod(Y)
    assert conv.weight_megabytes * 1e6 == math.prod(W) + 4 * (3 * 16 + 4)
    assert work_of(kernel("ConvInteger", (X, W), (), (Y,))).output_megabytes * 1e6 == 4 * math.prod(Y)
    assert work_of(kernel("QuantizeLinear", (X,), ((), ()), (X,))).output_megabytes * 1e6 == math.prod(X)
    assert work_of(kernel("DequantizeLinear", (X,), ((), ()), (X,))).input_megabytes * 1e6 == math.prod(X)
    assert work_of(kernel("Less", (X, X), (), (X,))).output_megabytes * 1e6 == math.prod(X)
    assert work_of(kernel("Cast", (X,), (), (X,), to="10")).output_megabytes * 1e6 == 2 * math.prod(X)
    assert work_of(kernel("Where", (X, X, X), (), (X,))).input_megabytes * 1e6 == 9 * math.prod(X)
    assert work_of(kernel("Where", (X, X), (X,), (X,), "bool")).input_megabytes * 1e6 == 8 * math.prod(X)
    places = work_of(kernel("GatherElements", (X,), (X,), (X,), "int64"))
    assert (places.input_megabytes, places.weight_megabytes) == (4 * math.prod(X) / 1e6, 8 * math.prod(X) / 1e6)


@pytest.mark.parametrize("schema", [s for s in onnx.defs.get_all_schemas() if s.domain == ""], ids=lambda s: s.name)
def test_widths_are_those_of_the_standard_where_it_allows_one_only(schema: onnx.defs.OpSchema) -> None:
    """An output that may only be bool takes one byte, one that may only be int64 eight, whatever the kernel's type."""
    allowed = {kind.type_param_str: kind.allowed_type_strs for kind in schema.type_constraints}
    widths = widths_of(schema.name, "float32", {})
    if no_price(Kernel(schema.name, (), (), ((1,),))) is not None:
        assert schema.name not in RULES or schema.name == "OptionalGetElement"
        return
    for place, output in enumerate(schema.outputs):
        only = {bytes_of(kind) for kind in allowed.get(output.type_str, [output.type_str])}
        stated = widths.outputs[min(place, len(widths.outputs) - 1)]
        assert len(only) > 1 or (stated or 4) == only.pop(), f"{schema.name}.{output.name}"
    if schema.inputs:
        only = {bytes_of(kind) for kind in allowed.get(schema.inputs[0].type_str, [schema.inputs[0].type_str])}
        # What shape a value has is read from a handful of numbers.
        is_data = schema.inputs[0].name not in ("input", "shape") or schema.name == "DFT"
        assert len(only) > 1 or not is_data or (widths.first or 4) == only.pop(), schema.name


def bytes_of(kind: str) -> float:
    names = {"float": "float32", "double": "float64"}
    text = kind.removeprefix("tensor(").removesuffix(")")
    return width_bytes(names.get(text, text))


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (kernel("Conv", (X, W), (), (Y,)), "Conv.spatial"),
        (kernel("ConvInteger", (X, W), (), (Y,)), "ConvInteger.spatial"),
        (kernel("microsoft.QLinearConv", (X,), QUANTISED, (Y,), "int8"), "microsoft.QLinearConv.int8.spatial"),
        (kernel("nhwc.Conv", ((1, 1, 1, 8),), ((9, 8, 1, 1),), ((1, 1, 1, 9),)), "nhwc.Conv.vector"),
        (kernel("nhwc.Conv", ((1, 1, 7, 8),), ((9, 8, 1, 1),), ((1, 1, 7, 9),)), "nhwc.Conv.pointwise"),
        (kernel("tvm.conv2d+add", (X,), ((8, 1, 3, 3),), (Y,), group="8"), "tvm.conv2d+add.depthwise"),
        (kernel("ConvTranspose", (X,), (W,), (Y,)), "ConvTranspose"),
        (kernel("DeformConv", (X, W), (), (Y,)), "DeformConv"),
    ],
)
def test_a_convolution_is_known_by_its_filter_whatever_runs_it(one: Kernel, kind: str) -> None:
    assert kind_of(one) == kind
    assert (filter_of(one) is None) == ("Transpose" in kind or "Deform" in kind)


def test_no_rule_stands_in_two_families() -> None:
    families = [ATTENTION, CONTRACTIONS, ELEMENTWISE, MOVEMENT, REDUCTIONS, SIGNALS, WINDOWS]
    counted = Counter(name for family in families for name in family)
    assert [name for name, times in counted.items() if times > 1] == []
    assert sum(counted.values()) == len(RULES)
