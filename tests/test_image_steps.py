"""The steps around an image classifier, run in ONNX Runtime against numpy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecost.profiler.graphs.image_steps import BEST_CLASSES, classification, image_preprocessing
from edgecost.profiler.workload import Workload

#: ImageNet's, as everybody states them: of channels between 0 and 1.
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Floats = NDArray[np.float64]


def run(workload: Workload | None, name: str, value: np.ndarray) -> list[np.ndarray]:
    assert workload is not None
    session = onnxruntime.InferenceSession(workload.skeleton, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {name: value})]


def resized(image: Floats, size: int, axis: int) -> Floats:
    """Linear interpolation between the centres of pixels, along one axis."""
    old = image.shape[axis]
    place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, old - 1)
    share = (place - low).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    return np.take(image, low, axis) * (1 - share) + np.take(image, high, axis) * share


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 2),
    st.sampled_from([1, 3]),
    st.tuples(st.integers(2, 12), st.integers(2, 12)),
    st.none() | st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 99),
)
def test_a_frame_becomes_the_input_that_numpy_makes_of_it(batch, channels, size, frame, seed) -> None:
    workload = image_preprocessing((batch, channels, *size), frame)
    high, wide = frame or size
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, high, wide, channels), np.uint8)
    (found,) = run(workload, "frame", pixels) if workload else ()
    wanted = (pixels / 255 - MEAN[:channels]) / SPREAD[:channels]
    wanted = resized(resized(wanted.transpose(0, 3, 1, 2), size[0], 2), size[1], 3)
    assert (found.shape, found.dtype) == ((batch, channels, *size), np.float32)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 4, 8, 8), (3, 8, 8, 1, 1), ()])
def test_an_input_that_is_no_image_has_no_standard_step(shape: tuple[int, ...]) -> None:
    assert image_preprocessing(shape) is None


def test_the_best_classes_come_with_their_probabilities_best_first() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)
    best, classes = run(classification((3, 20)), "scores", scores)
    exp = np.exp(scores.astype(np.float64))
    order = np.argsort(-scores, axis=1)[:, :BEST_CLASSES]
    np.testing.assert_array_equal(classes, order)
    np.testing.assert_allclose(best, np.take_along_axis(exp / exp.sum(1, keepdims=True), order, 1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, BEST_CLASSES - 1), (10,), (1, 10, 1)])
def test_an_output_that_is_no_list_of_classes_has_no_standard_step(shape: tuple[int, ...]) -> None:
    assert classification(shape) is None


def test_only_frames_of_another_size_are_resized() -> None:
    same, other = image_preprocessing((1, 3, 8, 8), (8, 8)), image_preprocessing((1, 3, 8, 8), (9, 8))
    assert same is not None
    assert other is not None
    assert b"Resize" not in same.skeleton
    assert b"Resize" in other.skeleton
    assert same.graph_hash != other.graph_hash
