"""Work and features of kernels, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecost.costmodels.features import FEATURES, WORK, feature_matrix, work_matrix
from edgecost.costmodels.kernel_work import kind_of, work_of
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.records import RuntimeProfile


def conv(
    source: tuple[int, ...], weight: tuple[int, ...], target: tuple[int, ...], group: int = 1, dtype: str = "float32"
) -> Kernel:
    return Kernel("nchwc.Conv", (source,), (weight, weight[:1]), (target,), (("group", str(group)),), dtype)


DENSE = conv((1, 3, 32, 32), (16, 3, 3, 3), (1, 16, 16, 16))
INNER = conv((1, 16, 32, 32), (16, 16, 3, 3), (1, 16, 16, 16))
DEPTHWISE = conv((1, 24, 14, 14), (24, 1, 5, 5), (1, 24, 14, 14), group=24)
GROUPED = conv((1, 32, 8, 8), (64, 8, 1, 1), (1, 64, 8, 8), group=4)
POINTWISE = conv((1, 16, 7, 7), (40, 16, 1, 1), (1, 40, 7, 7))
VECTOR = conv((1, 16, 1, 1), (40, 16, 1, 1), (1, 40, 1, 1))
GEMM = Kernel("Gemm", ((1, 1280),), ((1000, 1280), (1000,)), ((1, 1000),))
ADD = Kernel("Add", ((1, 8, 4, 4), (1, 8, 4, 4)), (), ((1, 8, 4, 4),))


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "proxylessnas", "fbnet"])
def test_every_kernel_of_a_random_network_has_finite_features_and_a_kind(name: str, profile: RuntimeProfile) -> None:
    space = load_space(name)
    graph = kernels(space.build(space.sample(1, seed=3)[0]), profile)
    matrix = feature_matrix(graph)
    assert matrix.shape == (len(graph), len(FEATURES))
    assert np.isfinite(matrix).all()
    assert None not in [kind_of(kernel) for kernel in graph]
    work = work_matrix(graph)
    assert work.shape == (len(graph), len(WORK))
    assert (work >= 0).all()
    assert (work[:, 1:].sum(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("kernel", "flops"),
    [
        (DENSE, 2 * 16 * 16 * 16 * 3 * 3 * 3),
        (DEPTHWISE, 2 * 24 * 14 * 14 * 5 * 5),
        (GROUPED, 2 * 64 * 8 * 8 * 8),
        (GEMM, 2 * 1000 * 1280),
        (ADD, 8 * 4 * 4),
    ],
    ids=["dense", "depthwise", "grouped", "gemm", "add"],
)
def test_a_multiply_add_is_two_operations(kernel: Kernel, flops: int) -> None:
    assert flops == pytest.approx(work_of(kernel).mega_flops * 1e6)


def test_bytes_are_moved_once() -> None:
    work = work_of(DENSE)
    assert work.input_megabytes == pytest.approx(4 * 3 * 32 * 32 / 1e6)
    assert work.output_megabytes == pytest.approx(4 * 16 * 16 * 16 / 1e6)
    assert work.weight_megabytes == pytest.approx(4 * (16 * 3 * 3 * 3 + 16) / 1e6)
    assert work_of(ADD).input_megabytes == pytest.approx(2 * 4 * 8 * 4 * 4 / 1e6)


def test_narrow_types_move_fewer_bytes_and_are_kinds_of_their_own() -> None:
    narrow = conv((1, 3, 32, 32), (16, 3, 3, 3), (1, 16, 16, 16), dtype="int8")
    assert work_of(narrow).input_megabytes == pytest.approx(work_of(DENSE).input_megabytes / 4)
    assert kind_of(narrow) == "nchwc.Conv.int8.shallow"


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        (DENSE, "nchwc.Conv.shallow"),
        (INNER, "nchwc.Conv.spatial"),
        (DEPTHWISE, "nchwc.Conv.depthwise"),
        (GROUPED, "nchwc.Conv.grouped"),
        (POINTWISE, "nchwc.Conv.pointwise"),
        (VECTOR, "nchwc.Conv.vector"),
        (GEMM, "Gemm"),
        (ADD, "Add"),
        (Kernel("Add", ((1, 8), None), (), ((1, 8),)), None),
        (Kernel("Add", ((1, 8),), (), (None,)), None),
        (Kernel("Add", ((1, 8),), (), ()), None),
    ],
)
def test_kinds_are_families_and_an_unknown_shape_has_none(kernel: Kernel, kind: str | None) -> None:
    assert kind == kind_of(kernel)


def test_features_say_what_a_convolution_is() -> None:
    row = dict(zip(FEATURES, feature_matrix([DENSE])[0], strict=True))
    expected = {
        "input_channels": 3,
        "output_channels": 16,
        "input_width": 32,
        "output_width": 16,
        "kernel_size": 3,
        "stride": 2,
        "groups": 1,
        "activation": 0,
        "operands": 3,
        "channel_remainder_8": 0,
        "channel_remainder_16": 0,
    }
    assert expected == {name: row[name] for name in expected}
    assert row["log_flops"] == pytest.approx(np.log1p(2 * 16 * 16 * 16 * 27))


def test_fused_activations_are_told_apart() -> None:
    names = ("", "Relu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Mystery")
    graph = [Kernel("Conv", ((1, 8),), (), ((1, 8),), (("activation", name),) if name else ()) for name in names]
    assert feature_matrix(graph)[:, FEATURES.index("activation")].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_no_kernels_are_a_matrix_without_rows() -> None:
    assert feature_matrix([]).shape == (0, len(FEATURES))


def test_scalars_and_sequences_have_features_too() -> None:
    odd = [
        Kernel("Relu", ((),), (), ((),)),
        Kernel("MatMul", ((1, 49, 64),), ((64, 128),), ((1, 49, 128),)),
        Kernel("Pool3d", ((1, 2, 3, 4, 5),), (), ((1, 2, 3, 4, 5),)),
        Kernel("ConstantOfShape", (), (), ((1, 8),)),
    ]
    assert np.isfinite(feature_matrix(odd)).all()
    assert work_of(odd[1]).mega_flops * 1e6 == pytest.approx(2 * 49 * 128 * 64)


def test_a_view_has_the_work_of_a_call_however_much_it_hands_on() -> None:
    small, large = (Kernel("Reshape", ((1, n),), ((3,),), ((1, 1, n),)) for n in (1, 1 << 20))
    assert work_matrix([large]).tolist() == work_matrix([small]).tolist()
    assert feature_matrix([large]).tolist() == feature_matrix([small]).tolist()
    copied = Kernel("Concat", ((1, 1 << 20),), (), ((1, 1 << 20),))
    assert work_matrix([copied])[0].sum() > 4
