"""Reference networks: what they compute has the right shape, and they have as many parameters as was published."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.networks import (
    REFERENCE_NETWORKS,
    ReferenceNetwork,
    bert,
    efficientnet_b0,
    mobilenet_v2,
    mobilenet_v3_large,
    reference_network,
    resnet18,
    resnet50,
    vit,
)
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload

#: torchvision's models (MobileNets, ResNets, EfficientNet), DeiT's table 1, and BertModel of Hugging Face's
#: transformers at the sizes of Turc et al., 2019 (with the pooler, without the head that guesses masked words).
PUBLISHED_MILLIONS = {
    "mobilenet_v2": 3.505,
    "mobilenet_v3_large": 5.483,
    "resnet18": 11.690,
    "resnet50": 25.557,
    "efficientnet_b0": 5.289,
    "vit_tiny": 5.717,
    "vit_small": 22.051,
    "bert_tiny": 4.386,
    "bert_small": 28.764,
    "bert_base": 109.482,
}
#: Small enough that all of them load and run in seconds; the structure is that of the full size.
SMALL = [
    (mobilenet_v2(64), (1, 1000)),
    (mobilenet_v3_large(64), (1, 1000)),
    (resnet18(64), (1, 1000)),
    (resnet50(64), (1, 1000)),
    (efficientnet_b0(64), (1, 1000)),
    (vit(3, 96, 3, resolution=64), (1, 1000)),
    (bert(2, 128, 2, length=16), (1, 128)),
]


def parameters(workload: Workload) -> int:
    return sum(math.prod(weight.shape) for weight in workload.weights)


def run(workload: Workload) -> np.ndarray:
    """The first output for inputs of ones (ids) or normal numbers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = complete(workload.skeleton, workload.weights)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    draws = np.random.default_rng(1)
    inputs = {
        slot.name: np.ones(slot.shape, np.int64)
        if slot.type == "tensor(int64)"
        else draws.standard_normal(slot.shape).astype(np.float32)
        for slot in session.get_inputs()
    }
    return np.asarray(session.run(None, inputs)[0])


def operators(skeletons: list[bytes]) -> Counter[str]:
    return Counter(node.op_type for s in skeletons for node in onnx.load_from_string(s).graph.node)


@pytest.mark.parametrize(("network", "shape"), SMALL, ids=lambda value: getattr(value, "name", ""))
def test_a_network_runs_with_finite_outputs_that_depend_on_its_depth(
    network: ReferenceNetwork, shape: tuple[int, ...]
) -> None:
    y = run(network.workload())
    assert y.shape == shape
    assert np.isfinite(y).all()
    assert float(np.std(y)) > 0


@pytest.mark.parametrize(("network", "shape"), SMALL, ids=lambda value: getattr(value, "name", ""))
def test_the_parts_are_the_nodes_and_the_weights_of_the_whole(
    network: ReferenceNetwork, shape: tuple[int, ...]
) -> None:
    whole, parts = network.workload(), network.part_workloads()
    labels = [label for label, _ in parts]
    assert labels == [label for label, _ in network.blocks]
    assert len(set(labels)) == len(labels)
    assert operators([part.skeleton for _, part in parts]) == operators([whole.skeleton])
    assert sum(parameters(part) for _, part in parts) == parameters(whole)
    assert {part.kind for _, part in parts} == {"block"}


@pytest.mark.parametrize("network", [network for network, _ in SMALL[-3:]], ids=lambda network: network.name)
def test_parts_run_one_by_one(network: ReferenceNetwork) -> None:
    for _, part in network.part_workloads():
        assert np.isfinite(run(part)).all()


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_a_network_has_the_published_number_of_parameters(name: str) -> None:
    millions = parameters(REFERENCE_NETWORKS[name]()) / 1e6
    assert millions == pytest.approx(PUBLISHED_MILLIONS[name], rel=0.01)


def test_full_size_networks_pass_the_checker_and_keep_the_tables_resolutions() -> None:
    last = {"mobilenet_v2": (1, 1280, 7, 7), "resnet50": (1, 2048, 7, 7), "efficientnet_b0": (1, 1280, 7, 7)}
    for name, shape in last.items():
        network = reference_network(name)
        parts = dict(network.part_workloads())
        pooled = onnx.load_from_string(parts["pool"].skeleton).graph.input[0].type.tensor_type.shape
        assert tuple(dim.dim_value for dim in pooled.dim) == shape


def test_two_equal_blocks_at_one_shape_have_one_hash() -> None:
    parts = dict(vit(3, 96, 3, resolution=64).part_workloads())
    assert parts["layer1"].graph_hash == parts["layer3"].graph_hash
    assert parts["layer1"].graph_hash != parts["head"].graph_hash


def test_another_resolution_is_another_graph_with_the_same_weights() -> None:
    small, large = mobilenet_v2(96).workload(), mobilenet_v2(128).workload()
    assert small.graph_hash != large.graph_hash
    assert small.weights == large.weights


def test_an_unknown_network_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(UsageError, match="resnet50"):
        reference_network("resnet5")
