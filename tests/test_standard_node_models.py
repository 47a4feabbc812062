"""Every operator of the ONNX standard, in the standard's own node test models: priced, or named with the reason.

The models come with the onnx package. ONNX Runtime optimises each, and runs nothing; then every node and every kernel
is accounted for.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto
from onnx.backend.test.loader import load_model_tests

from edgecost.costmodels.coverage import node_coverage, unpriced_operators
from edgecost.costmodels.features import feature_matrix
from edgecost.costmodels.kernel_work import kind_of, no_price, work_of
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.errors import ModelError
from edgecost.profiler.kernels.graph import Kernel, KernelGraph, kernel_graph
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.workload import Workload, workload_from_model

#: Operators none of whose models can be priced whole, and why. What is not here has at least one that can.
NEVER_PRICED = {
    "refused": "Adagrad Adam Bernoulli DequantizeLinear FlexAttention ImageDecoder Momentum OptionalGetElement "
    "OptionalHasElement QuantizeLinear RoiAlign SwiGLU",
    # The function that defines them cuts or reduces along axes that are fed.
    "shape": "CenterCropPad ReduceLogSum ReduceLogSumExp",
    "subgraph": "If LinearAttention Loop Scan SequenceMap",
    "no tensors": "SequenceInsert SplitToSequence",
    "size": "RegexFullMatch StringConcat StringNormalizer StringSplit",
}
NAMES = {name for names in NEVER_PRICED.values() for name in names.split()}
#: A kernel does not say the type of its activations, so these of texts look like those of numbers.
BLIND_TO_TEXT = {"Equal", "ml.LabelEncoder"}
LETTERS = "ABCDEFGHILMNOPQRSTUWX"
TRAINED_ON = "AMS"


@dataclass
class Model:
    """One test model, and what it becomes; ``refusal`` instead of a graph where the runtime has no kernel for it."""

    name: str
    operator: str
    workload: Workload
    model: onnx.ModelProto
    graph: KernelGraph | None = None
    refusal: str = ""

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.graph.kernels if self.graph else ()

    @property
    def reasons(self) -> set[str]:
        return {why for why in map(no_price, self.kernels) if why is not None}


@dataclass
class Shelf:
    """The models by the first letter of the operator that they test; kernels are asked for when they are needed."""

    profile: RuntimeProfile
    models: dict[str, list[Model]] = field(default_factory=lambda: defaultdict(list))
    _done: dict[str, list[Model]] = field(default_factory=dict)

    def letter(self, letter: str) -> list[Model]:
        if letter not in self._done:
            for model in self.models[letter]:
                try:
                    model.graph = kernel_graph(model.workload, self.profile)
                except ModelError as error:
                    model.refusal = str(error)
            self._done[letter] = self.models[letter]
        return self._done[letter]

    def __iter__(self):
        return (model for letter in LETTERS for model in self.letter(letter))


@pytest.fixture(scope="module")
def shelf(profile: RuntimeProfile) -> Shelf:
    with warnings.catch_warnings():
        # The models' expected outputs are computed as they are loaded, infinities and all.
        warnings.simplefilter("ignore")
        cases = {case.name: case.model for case in load_model_tests(kind="node")}
    found = Shelf(profile)
    for name, model in cases.items():
        # A function written out tests the operator that it defines.
        whole = cases.get(name.removesuffix("_expanded"), model)
        operator = whole.graph.node[-1].op_type
        found.models[operator[0]].append(Model(name, operator, workload_from_model(name, "operator", model), model))
    return found


@pytest.fixture(scope="module")
def predictor(shelf: Shelf) -> LatencyPredictor:
    """Trained on the commonest kinds of some operators by a known law: it knows these kinds, and not the others."""
    graphs = [one.kernels for letter in TRAINED_ON for one in shelf.letter(letter) if one.kernels and not one.reasons]
    common = Counter(str(kind_of(kernel)) for graph in graphs for kernel in graph).most_common(30)
    kinds = {kind for kind, _ in common}
    graphs = [graph for graph in graphs if {str(kind_of(kernel)) for kernel in graph} <= kinds][:200]
    latency_ms = [sum(0.002 + 0.1 * sum(work_of(kernel).terms()[1:]) for kernel in graph) for graph in graphs]
    return LatencyPredictor(rounds=20).fit(graphs, latency_ms)


def test_the_letters_are_those_of_all_operators(shelf: Shelf) -> None:
    assert set(LETTERS) == set(shelf.models)
    assert sum(map(len, shelf.models.values())) > 1500


@pytest.mark.parametrize("letter", LETTERS)
def test_every_kernel_is_priced_or_named_with_a_reason(letter: str, shelf: Shelf) -> None:
    for one in shelf.letter(letter):
        for kernel in one.kernels:
            assert (kind_of(kernel) is None) == (no_price(kernel) is not None), one.name
            work = work_of(kernel)
            assert all(math.isfinite(term) and term >= 0 for term in work.terms()), one.name
            # Not one operator of the standard goes without a rule.
            assert work.basis != "assumed", f"{one.name}: {kernel.op}"
            if no_price(kernel) is None:
                assert sum(work.terms()[2:]) > 0, f"{one.name} moves nothing: {kernel.signature}"
                assert np.isfinite(feature_matrix([kernel])).all(), one.name


@pytest.mark.parametrize("letter", LETTERS)
def test_what_the_runtime_refuses_is_refused_by_name(letter: str, shelf: Shelf) -> None:
    for one in shelf.letter(letter):
        if one.graph is None:
            # Of an operator that is a function the runtime may miss a part: SwiGLU fails for its Swish.
            missing = re.search(r"(\w+)\(-?\d+\)", one.refusal)
            name = missing[1] if missing else one.operator
            assert onnx.defs.has(name) or one.model.graph.node[-1].domain, one.refusal
            assert name.lower() in one.refusal.lower(), f"{one.name}: {one.refusal}"


@pytest.mark.parametrize("letter", LETTERS)
def test_every_operator_has_a_model_that_is_priced_whole_or_stands_in_the_list(letter: str, shelf: Shelf) -> None:
    priced = {one.operator for one in shelf.letter(letter) if one.graph is not None and not one.reasons}
    assert {one.operator for one in shelf.letter(letter)} - priced == {name for name in NAMES if name[0] == letter}


def test_the_list_says_why(shelf: Shelf) -> None:
    for why, names in NEVER_PRICED.items():
        for one in shelf:
            if one.operator in names.split():
                said = one.reasons | ({"refused"} if one.graph is None else set())
                assert any(why in reason for reason in said) or "refused" in said, f"{one.name}: {said}"


@pytest.mark.parametrize("letter", LETTERS)
def test_no_node_disappears_but_constants_identities_and_dead_code(letter: str, shelf: Shelf) -> None:
    for one in shelf.letter(letter):
        if one.graph is None:
            continue
        nodes = list(one.model.graph.node)
        owned = {node for kernel in one.kernels for node in kernel.nodes}
        free = set(one.graph.folded)
        assert owned | free == set(range(len(nodes))), one.name
        assert not owned & free, one.name
        assert all(kernel.nodes for kernel in one.kernels), one.name
        left = {nodes[place].op_type for place in free - excused(one.model.graph)}
        # The runtime may swap a node with its neighbour, and the neighbour's name goes with it.
        executed = Counter(kernel.op for kernel in one.kernels)
        written = Counter(node.op_type for node in nodes)
        assert all(executed[op] >= written[op] for op in left), f"{one.name} lost {left}"


@pytest.mark.parametrize("letter", LETTERS)
def test_texts_have_no_price(letter: str, shelf: Shelf) -> None:
    for one in shelf.letter(letter):
        if any(kind == TensorProto.STRING for kind in types(one.model)):
            assert {kernel.op for kernel in one.kernels if kind_of(kernel)} <= BLIND_TO_TEXT, one.name


@pytest.mark.parametrize("letter", LETTERS)
def test_a_predictor_prices_all_of_it_without_a_number_that_is_none(
    letter: str, shelf: Shelf, predictor: LatencyPredictor
) -> None:
    models = [one for one in shelf.letter(letter) if one.graph is not None]
    for one, price in zip(models, predictor.price([one.kernels for one in models]), strict=True):
        assert one.graph is not None
        assert math.isfinite(price.total_ms), one.name
        assert len(price.kernels) == len(one.kernels), one.name
        unpriced = [part for part in price.kernels if part.latency_ms is None]
        assert price.is_lower_bound == bool(unpriced), one.name
        assert all(part.source == "unsupported" for part in unpriced), one.name
        assert all(0 < part.latency_ms < math.inf for part in price.kernels if part.latency_ms is not None), one.name
        assert not price.is_lower_bound or (price.lo_ms, price.hi_ms) == (None, None), one.name
        assert set(unpriced_operators(price.kernels)) == {part.kernel.op for part in unpriced}, one.name
        shares = price.coverage()
        assert shares.pop("unsupported") == pytest.approx(len(unpriced) / max(1, len(price.kernels))), one.name
        assert sum(shares.values()) == pytest.approx(float(len(unpriced) < len(price.kernels))), one.name
        cover = node_coverage(one.graph, price.kernels)
        places = [*cover.priced, *(node for node, _ in cover.unpriced), *cover.free]
        assert sorted(places) == list(range(len(one.model.graph.node))), one.name


def test_an_operator_costs_about_what_its_definition_written_out_costs(shelf: Shelf) -> None:
    """Where ONNX defines an operator by a function of others, the two counts must agree, but for its bookkeeping."""
    whole = {one.name: one for one in shelf if one.graph is not None and not one.reasons}
    compared: dict[str, list[float]] = defaultdict(list)
    for name, written_out in whole.items():
        operator = whole.get(name.removesuffix("_expanded"))
        if operator is None or operator is written_out:
            continue
        counts = [sum(work_of(kernel).mega_flops for kernel in one.kernels) for one in (operator, written_out)]
        assert counts[0] > 0 or counts[1] == 0, name
        # Written out, a Clip without bounds is nothing.
        if counts[1]:
            compared[operator.operator].append(counts[0] / counts[1])
    assert len(compared) >= 20
    # LessOrEqual is three operations in its definition, one in fact.
    assert all(0.33 < ratio < 1.2 for ratios in compared.values() for ratio in ratios), compared


def test_most_of_the_standard_is_priced_whole(shelf: Shelf) -> None:
    """The figures of docs/explain/predictor.md; a change of onnx or ONNX Runtime moves them, a fault of ours more."""
    models = list(shelf)
    whole = sum(one.graph is not None and not one.reasons for one in models)
    refused = sum(one.graph is None for one in models)
    assert whole / len(models) > 0.78
    assert refused / len(models) < 0.08


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of a graph and of its subgraphs."""
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                found += all_nodes(attribute.g)
    return found


def types(model: onnx.ModelProto) -> list[int]:
    return [value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]]


def excused(graph: onnx.GraphProto) -> set[int]:
    """Nodes that need not run: they follow from constants and shapes, pass their input on, or are read by nobody."""
    nodes: Sequence[onnx.NodeProto] = graph.node
    fixed = {tensor.name for tensor in graph.initializer}
    found = {place for place, node in enumerate(nodes) if node.op_type == "Identity"}
    for place, node in enumerate(nodes):
        if node.op_type in ("Constant", "Shape", "Size") or all(name in fixed for name in node.input if name):
            fixed |= set(node.output)
            found.add(place)
    read = {value.name for value in graph.output}
    for place in reversed(range(len(nodes))):
        if read & set(nodes[place].output):
            subgraphs = [a.g for a in nodes[place].attribute if a.type == AttributeProto.GRAPH]
            read |= {name for inside in subgraphs for node in all_nodes(inside) for name in node.input}
            read |= {value.name for inside in subgraphs for value in inside.output} | set(nodes[place].input)
        else:
            found.add(place)
    return found
