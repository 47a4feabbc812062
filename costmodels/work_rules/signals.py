"""Fourier transforms, and the table lookups of classical models: trees and n-grams."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .operands import Operands, Rule, size


def fourier(length: int) -> float:
    """Operations of one complex transform.

    5 n log₂ n for a power of two (Cooley & Tukey, Math. Comp. 19, 1965, as FFTW counts it); any other length is a
    convolution of three transforms of the next power of two from 2 n − 1 on (Bluestein, IEEE Trans. AU-18, 1970).
    """
    if length < 2:
        return 0.0
    if length & (length - 1) == 0:
        return 5.0 * length * math.log2(length)
    padded = 1 << (2 * length - 2).bit_length()
    return 3 * 5.0 * padded * math.log2(padded) + 6.0 * (padded + 2 * length)


def _dft(operands: Operands) -> float:
    """The last axis holds real and imaginary parts. From opset 20 on the axis is an operand: the default is taken."""
    source, target = operands.first, operands.outputs[0]
    axis = int(operands.number("axis", -2 if "axis" not in operands.attributes else 1))
    if not -len(target) <= axis < len(target):
        return fourier(size(source))
    length = max(source[axis], target[axis])
    signals = size(target[:-1]) // max(target[axis], 1)
    return signals * fourier(length)


def _stft(operands: Operands) -> float:
    """A window, a product and a transform for each frame. Output: (batch, frames, bins, 2)."""
    target = operands.outputs[0]
    if len(target) != 4:
        return fourier(operands.read)
    windows = [shape[0] for shape in operands.all if len(shape) == 1]
    onesided = int(operands.number("onesided", 1))
    length = windows[0] if windows else 2 * (target[2] - 1) if onesided else target[2]
    return target[0] * target[1] * (length + fourier(length))


def _trees(operands: Operands) -> float:
    """At most each row is compared at every node of every tree; in practice at one node of each level."""
    rows = operands.first[0] if len(operands.first) > 1 else 1
    nodes = max(operands.count("nodes_treeids"), operands.count("nodes_featureids"), 1)
    return float(rows * nodes)


def _n_grams(operands: Operands) -> float:
    """Each place begins a gram of each length; whether it is in the pool is data."""
    return operands.read * max(operands.number("max_gram_length", 1), 1.0)


SIGNALS: Mapping[str, Rule] = {
    "DFT": Rule(_dft),
    "STFT": Rule(_stft),
    "TreeEnsemble": Rule(_trees, "upper_bound"),
    "TreeEnsembleClassifier": Rule(_trees, "upper_bound"),
    "TreeEnsembleRegressor": Rule(_trees, "upper_bound"),
    "TfIdfVectorizer": Rule(_n_grams, "upper_bound"),
}
