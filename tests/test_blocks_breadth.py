"""Blocks of every search space: what they compute, the shape they give, and the parameters that their papers count."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecost.profiler.graphs import cell_blocks as cells
from edgecost.profiler.graphs import sequence_blocks as sequence
from edgecost.profiler.graphs import speech_blocks as speech
from edgecost.profiler.graphs import vision_blocks as vision
from edgecost.profiler.graphs.blocks import Block
from edgecost.profiler.graphs.operators import GraphBuilder, Shape
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload, workload_from_model

Array = NDArray[np.generic]

#: block, input, output; one line for each kind of entry of the spaces, at a size that runs at once
CASES: dict[str, tuple[Block, Shape, Shape]] = {
    "OFA-ResNet bottleneck, reducing": (
        vision.Bottleneck(32, 8, 2, downsample="average_pool"), (1, 16, 9, 9), (1, 32, 5, 5)),
    "OFA-ResNet bottleneck, widening": (
        vision.Bottleneck(32, 8, 1, downsample="average_pool"), (1, 16, 8, 8), (1, 32, 8, 8)),
    "ResNet-50 bottleneck": (vision.Bottleneck(32, 8, 2), (1, 16, 8, 8), (1, 32, 4, 4)),
    "ResNet-50 bottleneck that keeps its shape": (vision.Bottleneck(16, 4), (1, 16, 8, 8), (1, 16, 8, 8)),
    "ResNet-18 block": (vision.BasicResidual(16, 2), (1, 8, 8, 8), (1, 16, 4, 4)),
    "elastic ResNet block": (vision.ThreeConvResidual(16, 8, 5, 2, 2), (1, 8, 9, 12), (1, 16, 5, 6)),
    "elastic ResNet block that keeps its shape": (vision.ThreeConvResidual(8, 4, 1), (1, 8, 8, 8), (1, 8, 8, 8)),
    "MBConv with squeeze": (vision.MobileBottleneck(8, 24, 5, 1, 2), (1, 8, 8, 8), (1, 8, 8, 8)),
    "MBConv without expansion": (
        vision.MobileBottleneck(12, 8, 3, 2, 2, expands=False), (1, 8, 8, 8), (1, 12, 4, 4)),
    "AttentiveNAS block": (
        vision.MobileBottleneck(8, 32, 3, 1, 8, gate="hard_sigmoid"), (1, 8, 8, 8), (1, 8, 8, 8)),
    "EfficientNet stem": (vision.Convolution(8, 3, 2, "swish"), (1, 3, 8, 8), (1, 8, 4, 4)),
    "VoVNet OSA": (vision.OneShotAggregation(4, 12, 3), (1, 8, 6, 6), (1, 12, 6, 6)),
    "VoVNet OSA with identity": (
        vision.OneShotAggregation(4, 8, 3, identity=True), (1, 8, 6, 6), (1, 8, 6, 6)),
    "VoVNet OSA, depthwise": (vision.OneShotAggregation(4, 12, 3, depthwise=True), (1, 8, 6, 6), (1, 12, 6, 6)),
    "RepVGG in training": (vision.RepVgg(8, deployed=False), (1, 8, 6, 6), (1, 8, 6, 6)),
    "RepVGG in training, strided": (vision.RepVgg(16, 2, 2, deployed=False), (1, 8, 7, 7), (1, 16, 4, 4)),
    "RepVGG": (vision.RepVgg(8), (1, 8, 6, 6), (1, 8, 6, 6)),
    "diverse branches": (vision.DiverseBranch(8, 3, 2, deployed=False), (1, 8, 8, 8), (1, 8, 4, 4)),
    "diverse branches, depthwise": (
        vision.DiverseBranch(8, 5, 1, 8, ("plain", "chained", "average"), deployed=False), (1, 8, 8, 8), (1, 8, 8, 8)),
    "diverse branches, deployed": (vision.DiverseBranch(8, 3, 2), (1, 8, 8, 8), (1, 8, 4, 4)),
    "NAS-Bench-201 nor_conv": (cells.ReluConv(8, 3), (1, 8, 6, 6), (1, 8, 6, 6)),
    "NAS-Bench-201 average pool": (vision.Pool("average"), (1, 8, 6, 6), (1, 8, 6, 6)),
    "NAS-Bench-201 reduction": (cells.NasBenchReduction(16), (1, 8, 6, 6), (1, 16, 3, 3)),
    "NAS-Bench-201 tail": (cells.NasBenchTail(10), (1, 8, 6, 6), (1, 10)),
    "DARTS sep_conv": (cells.SeparableConv(8, 5), (1, 8, 6, 6), (1, 8, 6, 6)),
    "DARTS sep_conv, reducing": (cells.SeparableConv(8, 3, 2), (1, 8, 6, 6), (1, 8, 3, 3)),
    "DARTS dil_conv, reducing": (cells.DilatedConv(8, 5, 2), (1, 8, 8, 8), (1, 8, 4, 4)),
    "DARTS factorised reduce": (cells.FactorisedReduce(10), (1, 8, 6, 6), (1, 10, 3, 3)),
    "DARTS max pool, reducing": (vision.Pool("max", 3, 2), (1, 8, 6, 6), (1, 8, 3, 3)),
    "HAT encoder self-attention": (sequence.SelfAttention(4, 8), (1, 5, 24), (1, 5, 24)),
    "HAT feed-forward": (sequence.FeedForward(32), (1, 5, 24), (1, 5, 24)),
    "HAT decoder self-attention": (sequence.CachedSelfAttention(4, 8, past_length=6), (1, 1, 24), (1, 1, 24)),
    "HAT cross-attention": (sequence.CrossAttention(4, 8, 10, 20), (1, 1, 24), (1, 1, 24)),
    "HAT decoder layer": (sequence.HatDecoderLayer(4, 2, 32, 6, 15, width=32), (1, 1, 24), (1, 1, 24)),
    "HAT projection": (sequence.Projection(50), (1, 1, 24), (1, 1, 50)),
    "BERT layer": (sequence.EncoderLayer(2, 12, 48), (2, 5, 24), (2, 5, 24)),
    "ViT layer": (sequence.EncoderLayer(2, 12, 48, norm="pre"), (1, 5, 24), (1, 5, 24)),
    "NAS-BERT separable conv": (sequence.SeparableTokenConv(5), (1, 6, 8), (1, 6, 8)),
    "ViT patches": (sequence.PatchEmbedding(8, 4), (2, 3, 8, 12), (2, 7, 8)),
    "GPT layer over a prompt": (sequence.GptLayer(2, 12, 48), (1, 5, 24), (1, 5, 24)),
    "GPT step": (sequence.GptLayer(2, 12, 48, past_length=7), (1, 1, 24), (1, 1, 24)),
    "Llama step": (
        sequence.GptLayer(4, 6, 48, 7, "swish", "rms", bias=False, gated=True, key_value_heads=2),
        (1, 1, 24), (1, 1, 24)),
    "HuBERT front end": (speech.SpeechFrontEnd(8), (1, 1, 800), (1, 8, 2)),
    "HuBERT projection": (speech.FrameProjection(12), (1, 8, 5), (1, 5, 12)),
    "TDNN layer": (speech.TdnnConv(16, 5), (1, 8, 20), (1, 16, 20)),
    "SE-Res2 TDNN": (speech.SeRes2Tdnn(16, 16, 3, 2, squeeze=4), (1, 16, 20), (1, 16, 20)),
    "SE-Res2 TDNN that widens": (speech.SeRes2Tdnn(24, 16, 5, 3, squeeze=4), (1, 16, 20), (1, 24, 20)),
    "statistics of a signal": (speech.StatisticsPool(), (2, 8, 20), (2, 16)),
    "statistics of a spectrogram": (speech.StatisticsPool(), (2, 4, 6, 20), (2, 48)),
    "attentive statistics": (speech.AttentiveStatistics(4), (1, 8, 20), (1, 16)),
    "GRU": (speech.Recurrence("gru", 6), (5, 2, 8), (5, 2, 6)),
    "LSTM, both ways": (speech.Recurrence("lstm", 6, bidirectional=True), (5, 2, 8), (5, 2, 12)),
    "Mamba as a scan": (speech.MambaBlock(16, 4, 2), (2, 5, 8), (2, 5, 8)),
    "Mamba as a loop": (speech.MambaBlock(16, 4, 2, form="loop"), (2, 5, 8), (2, 5, 8)),
}  # fmt: skip
#: ONNX's reference implementation has no backward LSTM, no Scan over the second axis, and joins a Loop's rows wrongly.
BEYOND_THE_REFERENCE = {"LSTM, both ways", "Mamba as a scan", "Mamba as a loop"}


def built(block: Block, shape: Shape, dtype: str = "float32") -> tuple[GraphBuilder, str]:
    graph = GraphBuilder("block")
    return graph, block.build(graph, graph.input(shape, dtype=dtype))


def workload(block: Block, shape: Shape, dtype: str = "float32") -> Workload:
    graph, y = built(block, shape, dtype)
    return workload_from_model("block", "block", graph.model(y), tuple(graph.weights))


def filled(graph: GraphBuilder, y: str) -> onnx.ModelProto:
    return onnx.load_from_string(complete(graph.model(y).SerializeToString(), tuple(graph.weights), seed=2))


def feeds(graph: GraphBuilder) -> dict[str, Array]:
    draws = np.random.default_rng(5)
    return {name: draws.standard_normal(graph.shapes[name]).astype(np.float32) for name in graph.inputs}


def run(model: onnx.ModelProto, inputs: dict[str, Array]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def parameters(block: Block, shape: Shape, dtype: str = "float32") -> int:
    return sum(math.prod(weight.shape) for weight in workload(block, shape, dtype).weights)


def nodes(made: Workload) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(made.skeleton).graph.node]


@pytest.mark.parametrize("name", CASES)
def test_a_block_gives_the_shape_that_it_promises_and_what_the_reference_computes(name: str) -> None:
    block, shape, expected_shape = CASES[name]
    graph, y = built(block, shape)
    model, inputs = filled(graph, y), feeds(graph)
    onnx.checker.check_model(model, full_check=True)
    got = run(model, inputs)
    assert got.shape == graph.shapes[y] == expected_shape
    assert np.isfinite(got).all()
    assert np.std(got) > 0
    if name not in BEYOND_THE_REFERENCE:
        (expected,) = ReferenceEvaluator(model).run(None, inputs)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_blocks_are_values_and_equal_blocks_are_equal_graphs() -> None:
    assert vision.Bottleneck(32, 8, 2) == vision.Bottleneck(32, 8, 2)
    hashes = {workload(block, shape).graph_hash for block, shape, _ in CASES.values()}
    assert len(hashes) == len(CASES)


def test_every_choice_of_branches_deploys_to_the_same_convolution() -> None:
    shape = (1, 8, 8, 8)
    deployed = workload(vision.DiverseBranch(8, branches=("plain", "average")), shape)
    assert deployed.graph_hash == workload(vision.DiverseBranch(8, branches=("chained",)), shape).graph_hash
    assert deployed.graph_hash == workload(vision.RepVgg(8), shape).graph_hash
    assert nodes(deployed) == ["Conv", "Relu"]
    assert nodes(workload(vision.RepVgg(8, deployed=False), shape)).count("Conv") == 2


def test_repvgg_in_training_computes_what_its_fused_convolution_computes() -> None:
    graph, y = built(vision.RepVgg(8, deployed=False), (1, 8, 6, 6))
    model = filled(graph, y)
    parts = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    three, three_bias, one, one_bias, mean, scale, shift = (parts[f"w{place}"] for place in range(7))
    gain = scale / np.float32(1 + 1e-5) ** 0.5  # the variance is one
    kernel = three.copy()
    kernel[:, :, 1, 1] += one[:, :, 0, 0] + np.diag(gain)
    fused, z = built(vision.RepVgg(8), (1, 8, 6, 6))
    skeleton = fused.model(z)
    skeleton.graph.initializer.extend(
        [
            numpy_helper.from_array(kernel, "w0"),
            numpy_helper.from_array(three_bias + one_bias + shift - gain * mean, "w1"),
        ]
    )
    inputs = feeds(graph)
    np.testing.assert_allclose(run(model, inputs), run(skeleton, inputs), rtol=1e-3, atol=1e-4)


def test_repvgg_a0_has_the_parameters_of_its_paper() -> None:
    # Ding et al., CVPR 2021, table 4: 8.30 M deployed, classifier included.
    total, shape = 0, (1, 3, 224, 224)
    for out, repeats in ((48, 1), (48, 2), (96, 4), (192, 14), (1280, 1)):
        for place in range(repeats):
            graph, y = built(vision.RepVgg(out, 1 if place else 2), shape)
            total += sum(math.prod(weight.shape) for weight in graph.weights)
            shape = graph.shapes[y]
    assert shape == (1, 1280, 7, 7)
    assert (total + 1281 * 1000) / 1e6 == pytest.approx(8.30, rel=0.01)


def test_a_factorised_reduce_sees_every_pixel() -> None:
    graph, y = built(cells.FactorisedReduce(4), (1, 1, 4, 4))
    model = filled(graph, y)
    base = run(model, {"input": np.ones((1, 1, 4, 4), np.float32)})
    seen = 0
    for row in range(4):
        for column in range(4):
            x = np.ones((1, 1, 4, 4), np.float32)
            x[0, 0, row, column] = 3
            seen += bool(np.abs(run(model, {"input": x}) - base).max() > 1e-6)
    # One half looks at even rows and columns, the other at odd ones: 4 + 4 of the 16 pixels, as in the source.
    assert seen == 8


@pytest.mark.parametrize(
    ("block", "shape", "count"),
    [
        # GPT-2's smallest layer (Radford et al., 2019): 12 · 768² + 13 · 768
        (sequence.GptLayer(12, 64, 3072), (1, 8, 768), 12 * 768**2 + 13 * 768),
        (sequence.GptLayer(12, 64, 3072, past_length=9), (1, 1, 768), 12 * 768**2 + 13 * 768),
        # BERT-base's layer is as large (Devlin et al., 2019)
        (sequence.EncoderLayer(12, 64, 3072), (1, 8, 768), 7_087_872),
        # DyNAS-T's smallest BERT layer: 6 heads of 64 at hidden 768
        (sequence.SelfAttention(6, 64), (1, 8, 768), 4 * 768 * 384 + 3 * 384 + 768 + 2 * 768),
        # HuBERT's front end: 4.2 M (Baevski et al., 2020)
        (speech.SpeechFrontEnd(), (1, 1, 800), 512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2 + 2 * 512),
        # DARTS, C = 36: two depthwise 5×5 and two 1×1, whose biases are the folded norms
        (cells.SeparableConv(36, 5), (1, 36, 8, 8), 2 * (25 * 36 + 36 * 36 + 36)),
        # An LSTM of PyTorch, two biases a gate
        (speech.Recurrence("lstm", 10), (3, 1, 7), 4 * 10 * (7 + 10 + 2)),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "build") else "",
)
def test_a_block_has_the_parameters_of_its_formula(block: Block, shape: Shape, count: int) -> None:
    assert parameters(block, shape) == count


def test_cross_attention_over_three_encoder_layers_has_three_times_the_memory_and_the_same_weights() -> None:
    one, three = (sequence.CrossAttention(4, 64, length, 640) for length in (30, 90))
    shape = (1, 1, 512)
    assert parameters(one, shape) == parameters(three, shape)
    assert workload(one, shape).graph_hash != workload(three, shape).graph_hash
    graph, _ = built(three, shape)
    assert [graph.shapes[name] for name in graph.inputs] == [(1, 1, 512), (1, 90, 640)]


def test_the_layers_of_one_decoder_have_caches_of_their_own() -> None:
    graph = GraphBuilder("decoder")
    y = graph.input((1, 1, 24))
    for _ in range(2):
        y = sequence.HatDecoderLayer(4, 2, 32, 6, 15, width=32).build(graph, y)
    assert len(set(graph.inputs)) == len(graph.inputs) == 1 + 2 * 4
    assert run(filled(graph, y), feeds(graph)).shape == (1, 1, 24)


def test_a_bert_embedding_adds_word_position_and_segment() -> None:
    graph, y = built(sequence.TokenEmbedding(50, 16, 8, segments=2), (1, 4), "int64")
    model = filled(graph, y)
    words, positions, segments, scale, bias = (
        numpy_helper.to_array(tensor)
        for name in range(5)
        for tensor in model.graph.initializer
        if tensor.name == f"w{name}"
    )
    ids, kinds = np.array([[3, 49, 0, 3]]), np.array([[0, 0, 1, 1]])
    total = words[ids] + positions[None, :4] + segments[kinds]
    centred = total - total.mean(-1, keepdims=True)
    expected = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * scale + bias
    got = run(model, dict(zip(graph.inputs, (ids, kinds), strict=True)))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_attentive_statistics_are_the_weighted_mean_and_deviation_of_each_channel() -> None:
    graph, y = built(speech.AttentiveStatistics(4), (1, 8, 20))
    model, inputs = filled(graph, y), feeds(graph)
    parts = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    x = np.asarray(inputs["input"][0])
    hidden = np.tanh(parts["w0"][:, :, 0] @ x + parts["w1"][:, None])
    logits = parts["w2"][:, :, 0] @ hidden + parts["w3"][:, None]
    weight = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mean = (weight * x).sum(axis=1)
    deviation = np.sqrt((weight * (x - mean[:, None]) ** 2).sum(axis=1))
    np.testing.assert_allclose(run(model, inputs)[0], np.concatenate([mean, deviation]), rtol=1e-3, atol=1e-4)


def test_statistics_are_the_mean_and_deviation_of_each_row_of_each_channel_over_time() -> None:
    graph, y = built(speech.StatisticsPool(), (1, 3, 4, 50))
    inputs = feeds(graph)
    rows = np.asarray(inputs["input"][0]).reshape(12, 50)
    expected = np.concatenate([rows.mean(axis=1), rows.std(axis=1)])
    np.testing.assert_allclose(run(filled(graph, y), inputs)[0], expected, rtol=1e-4, atol=1e-6)


def test_a_mamba_block_is_causal_and_the_same_as_scan_and_as_loop() -> None:
    scan, y = built(speech.MambaBlock(16, 4, 2), (1, 6, 8))
    loop, z = built(speech.MambaBlock(16, 4, 2, form="loop"), (1, 6, 8))
    inputs = feeds(scan)
    before = run(filled(scan, y), inputs)
    np.testing.assert_allclose(run(filled(loop, z), inputs), before, rtol=1e-4, atol=1e-5)
    inputs["input"][:, 4:] += 1
    after = run(filled(scan, y), inputs)
    np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-6)
    assert np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-4
