"""Weights by description: the bytes that are appended to a skeleton are what ONNX and numpy read out of them."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.space_file import load_space
from edgecost.profiler import runner
from edgecost.profiler.weights import Weight, complete

DTYPES = sorted(runner.ONNX_TYPES)


def skeleton(*weights: Weight) -> bytes:
    """A model that gives out each of its weights; they themselves are not in it."""
    kinds = {weight.name: runner.ONNX_TYPES[weight.dtype] for weight in weights}
    nodes = [helper.make_node("Identity", [weight.name], [f"out_{weight.name}"]) for weight in weights]
    outputs = [helper.make_tensor_value_info(f"out_{w.name}", kinds[w.name], w.shape) for w in weights]
    kept = numpy_helper.from_array(np.arange(3, dtype=np.int64), "kept")
    graph = helper.make_graph(nodes, "g", [], outputs, [kept])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def numbers(weight: Weight, index: int, seed: int) -> np.ndarray:
    pool = runner._pool(seed)
    return runner._numbers(list(weight.shape), weight.dtype, weight.spread, pool, index * 7919)


def check_all(weights: tuple[Weight, ...], seed: int) -> None:
    bare = skeleton(*weights)
    made = onnx.load_model_from_string(complete(bare, weights, seed))
    onnx.checker.check_model(made, full_check=True)
    expected = onnx.load_model_from_string(bare)
    for index, weight in enumerate(weights):
        expected.graph.initializer.append(numpy_helper.from_array(numbers(weight, index, seed), weight.name))
    assert [tensor.name for tensor in made.graph.initializer] == ["kept", *(weight.name for weight in weights)]
    assert made == expected


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=4), st.sampled_from(DTYPES)), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_the_completed_model_is_the_one_that_onnx_would_build(described: list, seed: int) -> None:
    weights = tuple(Weight(f"w{i}", tuple(shape), dtype, 0.5) for i, (shape, dtype) in enumerate(described))
    check_all(weights, seed)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64", "bool"])
def test_weights_larger_than_the_pool_repeat_it(dtype: str) -> None:
    size = runner.POOL_SIZE
    check_all((Weight("w", (2, size + 17), dtype, 0.1), Weight("v", (size,), dtype, 0.1)), 3)


def test_a_name_outside_ascii_survives() -> None:
    check_all((Weight("gewicht_äß_重", (2, 2), "float32", 1.0),), 0)


def test_one_seed_gives_one_model_and_another_seed_another() -> None:
    weights = (Weight("w", (4, 4), "float32", 0.5), Weight("v", (4, 4), "float32", 0.5))
    bare = skeleton(*weights)
    assert complete(bare, weights, 1) == complete(bare, weights, 1)
    assert complete(bare, weights, 1) != complete(bare, weights, 2)
    made = onnx.load_model_from_string(complete(bare, weights, 1)).graph.initializer
    assert made[1].raw_data != made[2].raw_data


def test_the_spread_is_the_standard_deviation() -> None:
    values = numbers(Weight("w", (100, 500), "float32", 0.25), 0, 0)
    assert values.std() == pytest.approx(0.25, rel=0.03)
    assert abs(values.mean()) < 0.01


def test_integers_are_zeros_and_ones() -> None:
    assert set(np.unique(numbers(Weight("w", (50,), "int64", 9.0), 0, 0))) == {0, 1}


def test_a_model_without_weights_stays_as_it_is() -> None:
    assert complete(b"anything", ()) == b"anything"


def test_a_network_of_a_space_is_valid_once_complete() -> None:
    space = load_space("fbnet")
    workload = space.build(space.sample(1, 0)[0])
    made = onnx.load_model_from_string(complete(workload.skeleton, workload.weights))
    onnx.checker.check_model(made, full_check=True)
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in made.graph.initializer}
    assert all(sizes[weight.name] == math.prod(weight.shape) for weight in workload.weights)


def test_the_type_numbers_are_those_of_onnx() -> None:
    for dtype, number in runner.ONNX_TYPES.items():
        assert helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) == number
    assert runner.ONNX_TYPES["bool"] == TensorProto.BOOL


def test_a_description_travels_as_json() -> None:
    weights = (Weight("w", (2, 3), "float16", 0.5),)
    bare = base64.b64decode(base64.b64encode(skeleton(*weights)))
    listed = [{**asdict(weight), "shape": list(weight.shape)} for weight in weights]
    assert runner.append_weights(bare, listed, 5) == complete(bare, weights, 5)
