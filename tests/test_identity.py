"""The identity of a graph: every spelling of a computation has one hash, every other computation another."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.identity import hash_graph, strip_model
from edgecost.profiler.model_file import split_weights

SHAPE = [1, 4, 6, 6]


def value(name: str, shape: list[int] | None = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, SHAPE if shape is None else shape)


def model(
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    constants: list[onnx.TensorProto] | None = None,
    *,
    inputs: list[onnx.ValueInfoProto] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs or [value("x")], [value(name) for name in outputs], constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def floats(name: str, shape: list[int], seed: int = 0) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(seed).normal(size=shape).astype(np.float32), name)


def conv_clip(
    *, stride: int = 1, seed: int = 0, kernel: int = 3, six: float = 6.0, opset: int = 17, out: str = "y"
) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, strides=[stride] * 2, name="first"),
        helper.make_node("Clip", ["c", "zero", "six"], [out], name="second"),
    ]
    limits = [numpy_helper.from_array(np.float32(limit), name) for name, limit in (("zero", 0.0), ("six", six))]
    return model(nodes, [out], [floats("w", [4, 4, kernel, kernel], seed), *limits], opset=opset)


@st.composite
def dags(draw: st.DrawFn) -> onnx.ModelProto:
    """Random graphs of Relu, Add and Mul over one or two inputs; some nodes are dead, some values are used twice."""
    names = [f"in{place}" for place in range(draw(st.integers(1, 2)))]
    inputs = [value(name) for name in names]
    nodes = []
    for place in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["Relu", "Add", "Mul"]))
        reads = [draw(st.sampled_from(names)) for _ in range(1 if op == "Relu" else 2)]
        nodes.append(helper.make_node(op, reads, [f"n{place}"]))
        names.append(f"n{place}")
    made = [f"n{place}" for place in range(len(nodes))]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=2, unique=True))
    return model(nodes, outputs, inputs=inputs)


def renamed(source: onnx.ModelProto, shuffle: random.Random) -> onnx.ModelProto:
    """A copy in which every value has another name."""
    made = onnx.ModelProto()
    made.CopyFrom(source)
    graph = made.graph
    listed = [*graph.input, *graph.output, *graph.initializer]
    olds = {item.name for item in listed} | {name for node in graph.node for name in node.output}
    new = dict(zip(sorted(olds), shuffle.sample([f"v{i}" for i in range(len(olds))], len(olds)), strict=True))
    for item in listed:
        item.name = new[item.name]
    for node in graph.node:
        node.input[:] = [new[name] for name in node.input]
        node.output[:] = [new[name] for name in node.output]
    return made


def reordered(source: onnx.ModelProto, shuffle: random.Random) -> onnx.ModelProto:
    """A copy whose nodes stand in another valid order, and whose initialisers in any."""
    made = onnx.ModelProto()
    made.CopyFrom(source)
    left, known, order = list(source.graph.node), {item.name for item in source.graph.input}, []
    known |= {tensor.name for tensor in source.graph.initializer}
    while left:
        ready = [node for node in left if set(node.input) <= known]
        node = shuffle.choice(ready)
        left.remove(node)
        known |= set(node.output)
        order.append(node)
    del made.graph.node[:]
    made.graph.node.extend(order)
    constants = shuffle.sample(list(source.graph.initializer), len(source.graph.initializer))
    del made.graph.initializer[:]
    made.graph.initializer.extend(constants)
    return made


def meaning(source: onnx.ModelProto) -> object:
    """The oracle: the graph unfolded into expressions, numbered by first need; slow, and written another way."""
    producer = {node.output[0]: node for node in source.graph.node}
    numbers: dict[str, int] = {}
    lines = []

    def number(name: str) -> int:
        if name not in numbers:
            node = producer[name]
            reads = [number(needed) for needed in node.input]
            numbers[name] = len(numbers)
            lines.append((node.op_type, *reads))
        return numbers[name]

    for item in source.graph.input:
        numbers[item.name] = len(numbers)
    outputs = [number(item.name) for item in source.graph.output]
    return len(source.graph.input), lines, outputs


@given(dags(), st.randoms(use_true_random=False))
def test_names_and_the_order_of_nodes_do_not_matter(graph: onnx.ModelProto, shuffle: random.Random) -> None:
    assert hash_graph(renamed(graph, shuffle)) == hash_graph(graph)
    assert hash_graph(reordered(graph, shuffle)) == hash_graph(graph)
    assert hash_graph(strip_model(renamed(reordered(graph, shuffle), shuffle))) == hash_graph(graph)


@given(dags(), dags())
def test_two_graphs_have_one_hash_exactly_when_they_mean_the_same(
    left: onnx.ModelProto, right: onnx.ModelProto
) -> None:
    assert (hash_graph(left) == hash_graph(right)) == (meaning(left) == meaning(right))


@given(dags(), st.data())
def test_another_operator_anywhere_alive_is_another_graph(graph: onnx.ModelProto, data: st.DataObject) -> None:
    alive = [node for node in graph.graph.node if node.output[0] in {item.name for item in graph.graph.output}]
    before = hash_graph(graph)
    node = data.draw(st.sampled_from(alive))
    node.op_type = {"Relu": "Abs", "Add": "Mul", "Mul": "Add"}[node.op_type]
    assert hash_graph(graph) != before


@given(dags())
def test_dead_nodes_do_not_matter(graph: onnx.ModelProto) -> None:
    before = hash_graph(graph)
    graph.graph.node.append(helper.make_node("Exp", [graph.graph.output[0].name], ["dead"]))
    assert hash_graph(graph) == before


def test_notes_producer_and_weight_values_do_not_matter() -> None:
    noted = conv_clip(seed=1)
    noted.producer_name, noted.producer_version, noted.doc_string = "someone", "3", "a note"
    noted.graph.name, noted.graph.doc_string, noted.model_version = "other", "another", 9
    noted.graph.node[0].doc_string = "a convolution"
    noted.graph.node[0].name = "conv_0"
    helper.set_model_props(noted, {"key": "value"})
    assert hash_graph(noted) == hash_graph(conv_clip())
    assert strip_model(noted).SerializeToString().find(b"note") == -1


def test_an_operator_set_that_no_node_uses_does_not_matter() -> None:
    spoken = conv_clip()
    spoken.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    assert hash_graph(spoken) == hash_graph(conv_clip())


def test_constants_listed_among_the_inputs_do_not_matter() -> None:
    listed = conv_clip()
    listed.graph.input.insert(0, value("six", []))
    listed.graph.input.insert(0, value("w", [4, 4, 3, 3]))
    assert hash_graph(listed) == hash_graph(conv_clip())


def test_a_constant_node_is_the_same_as_an_initializer() -> None:
    spelled = conv_clip()
    six = spelled.graph.initializer.pop()
    spelled.graph.node.insert(0, helper.make_node("Constant", [], ["six"], value=six))
    assert hash_graph(spelled) == hash_graph(conv_clip())


@pytest.mark.parametrize("change", [{"stride": 2}, {"kernel": 5}, {"six": 4.0}, {"opset": 16}], ids=str)
def test_attributes_shapes_structural_constants_and_the_opset_matter(change: dict[str, int]) -> None:
    assert hash_graph(conv_clip(**change)) != hash_graph(conv_clip())


def test_shapes_and_types_of_inputs_matter() -> None:
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    hashes = {
        hash_graph(model(relu, ["y"], inputs=[value("x", shape, kind)]))
        for shape, kind in [([1, 4], 1), ([4, 1], 1), ([4], 1), ([1, 4], TensorProto.FLOAT16)]
    }
    assert len(hashes) == 4


def test_which_input_goes_where_matters() -> None:
    two = [value("a"), value("b")]
    first = model([helper.make_node("Sub", ["a", "b"], ["y"])], ["y"], inputs=two)
    second = model([helper.make_node("Sub", ["b", "a"], ["y"])], ["y"], inputs=two)
    assert hash_graph(first) != hash_graph(second)


def test_the_values_of_integer_constants_matter() -> None:
    def reshape(*shape: int) -> onnx.ModelProto:
        target = numpy_helper.from_array(np.array(shape, np.int64), "shape")
        return model([helper.make_node("Reshape", ["x", "shape"], ["y"])], ["y"], [target])

    assert hash_graph(reshape(4, 36)) == hash_graph(reshape(4, 36))
    assert hash_graph(reshape(4, 36)) != hash_graph(reshape(36, 4))


factors = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=4, max_size=4)


def resized(numbers: list[float], *, how: str = "initializer", spelled: str = "scales") -> onnx.ModelProto:
    """A Resize by four factors: as an initialiser, by a Constant node, within a branch, or worked out from a shape."""
    tensor = numpy_helper.from_array(np.array(numbers, np.float32), spelled)
    constants = [] if how == "node" else [tensor]
    nodes = [helper.make_node("Constant", [], [spelled], value=tensor)] if how == "node" else []
    resize = helper.make_node("Resize", ["x", "", spelled], ["y"])
    if how == "branch":
        inside = helper.make_graph([resize], "branch", [], [value("y")])
        other = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "other", [], [value("z")])
        flag = helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True)))
        nodes += [flag, helper.make_node("If", ["flag"], ["out"], then_branch=inside, else_branch=other)]
    elif how == "arithmetic":
        nodes += [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["wide", spelled], ["grown"]),
            helper.make_node("Cast", ["grown"], ["size"], to=TensorProto.INT64),
            helper.make_node("Resize", ["x", "", "", "size"], ["out"]),
        ]
    else:
        nodes += [resize, helper.make_node("Identity", ["y"], ["out"])]
    return model(nodes, ["out"], constants)


@given(factors, factors, st.sampled_from(["initializer", "node", "branch", "arithmetic"]))
def test_the_factors_of_a_resize_matter_but_not_their_name(left: list[float], right: list[float], how: str) -> None:
    one, two = resized(left, how=how), resized(right, how=how, spelled="other")
    assert (hash_graph(one) == hash_graph(two)) == (left == right)


@given(factors)
def test_factors_in_an_initializer_are_those_of_a_constant_node(numbers: list[float]) -> None:
    assert hash_graph(resized(numbers, how="node")) == hash_graph(resized(numbers))


@given(factors)
def test_factors_stay_in_the_skeleton_that_weights_were_taken_out_of(numbers: list[float]) -> None:
    for how in ("initializer", "node", "branch", "arithmetic"):
        before = resized(numbers, how=how)
        skeleton, weights = split_weights(before)
        assert weights == ()
        assert hash_graph(skeleton) == hash_graph(before)


def test_small_weights_that_decide_no_shape_do_not_matter() -> None:
    def scaled(seed: int) -> onnx.ModelProto:
        nodes = [helper.make_node("Mul", ["x", "w"], ["m"]), helper.make_node("Reshape", ["m", "shape"], ["y"])]
        shape = numpy_helper.from_array(np.array([4, 36]), "shape")
        return model(nodes, ["y"], [floats("w", [4, 1, 1], seed), shape])

    assert hash_graph(scaled(0)) == hash_graph(scaled(1))


def test_a_shared_branch_is_not_two_equal_ones() -> None:
    def conv(weight: str, name: str) -> onnx.NodeProto:
        return helper.make_node("Conv", ["x", weight], [name])

    def add(*reads: str) -> onnx.NodeProto:
        return helper.make_node("Add", [*reads], ["y"])

    weights = [floats("w", [4, 4, 1, 1]), floats("v", [4, 4, 1, 1])]
    shared = model([conv("w", "a"), add("a", "a")], ["y"], weights)
    twice = model([conv("w", "a"), conv("w", "b"), add("a", "b")], ["y"], weights)
    apart = model([conv("w", "a"), conv("v", "b"), add("a", "b")], ["y"], weights)
    assert len({hash_graph(shared), hash_graph(twice), hash_graph(apart)}) == 3


def branches(captured: str, op: str = "Relu", inner: str = "inner") -> onnx.ModelProto:
    """An If whose branches read a value of the graph around them."""

    def branch(name: str, kind: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(kind, [captured], [name])], "branch", [], [value(name)])

    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("If", ["flag"], ["i"], then_branch=branch(inner, op), else_branch=branch(inner + "2", "Abs")),
        helper.make_node("Sum", ["i", "e", "n"], ["y"]),
    ]
    return model(nodes, ["y"], inputs=[value("x"), value("flag", [], TensorProto.BOOL)])


def test_what_a_subgraph_computes_and_captures_matters_but_not_its_names() -> None:
    onnx.checker.check_model(branches("e"))
    assert hash_graph(branches("e", inner="other")) == hash_graph(branches("e"))
    assert hash_graph(branches("n")) != hash_graph(branches("e"))
    assert hash_graph(branches("e", op="Sigmoid")) != hash_graph(branches("e"))


def test_a_subgraph_may_capture_a_weight_of_the_graph_around_it() -> None:
    graph = branches("w")
    graph.graph.initializer.append(floats("w", SHAPE))
    same = branches("w")
    same.graph.initializer.append(floats("w", SHAPE, seed=5))
    other = branches("w")
    other.graph.initializer.append(floats("w", [1, 4, 6, 1]))
    assert hash_graph(graph) == hash_graph(same) != hash_graph(other)


def test_the_body_of_a_function_matters() -> None:
    def calling(op: str, inner: str) -> onnx.ModelProto:
        opsets = [helper.make_opsetid("", 17)]
        body = [helper.make_node(op, ["a"], [inner]), helper.make_node("Neg", [inner], ["b"])]
        made = model([helper.make_node("Twist", ["x"], ["y"], domain="local")], ["y"])
        made.functions.append(helper.make_function("local", "Twist", ["a"], ["b"], body, opsets))
        made.opset_import.append(helper.make_opsetid("local", 1))
        return made

    assert hash_graph(calling("Relu", "t")) == hash_graph(calling("Relu", "u"))
    assert hash_graph(calling("Relu", "t")) != hash_graph(calling("Abs", "t"))


def test_outputs_that_are_left_out_are_not_the_same_as_used_ones() -> None:
    def pool(*outputs: str) -> onnx.ModelProto:
        return model([helper.make_node("MaxPool", ["x"], [*outputs], kernel_shape=[2, 2])], ["y"])

    assert hash_graph(pool("y")) != hash_graph(pool("y", "indices"))


def test_a_cycle_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(ValueError, match="cycle through"):
        hash_graph(model(nodes, ["b"]))


def test_a_value_that_nothing_produces_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing produces the value 'ghost'"):
        hash_graph(model([helper.make_node("Add", ["x", "ghost"], ["y"])], ["y"]))


def test_a_deep_graph_does_not_exhaust_the_stack() -> None:
    nodes = [helper.make_node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(5000)]
    assert len(hash_graph(model(nodes, ["v5000"]))) == 64
