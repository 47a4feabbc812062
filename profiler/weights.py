"""Weights by description: name, shape, type and spread, turned into numbers from a seed on the device that runs them.

A model is sent as a skeleton without weights and this list. The runner makes the numbers and appends them to the
skeleton's bytes (see ``runner.py``); ``complete`` does the same on the host.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .runner import append_weights


@dataclass(frozen=True)
class Weight:
    """One weight to be generated: normal with mean 0 and standard deviation ``spread`` for floats."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    spread: float


def complete(skeleton: bytes, weights: tuple[Weight, ...], seed: int = 0) -> bytes:
    """The serialised model with its weights filled in from ``seed``."""
    serialised: bytes = append_weights(skeleton, [asdict(weight) for weight in weights], seed)
    return serialised
