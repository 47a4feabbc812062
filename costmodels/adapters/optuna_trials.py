"""Architectures of a space as parameters of an Optuna trial, so that latency can be an objective beside accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..lut import Lut
from ..space import Space
from ..spaces.coding import Numeric
from .labels import depth_label

if TYPE_CHECKING:
    import optuna


def suggest_arch(trial: optuna.trial.BaseTrial, space: Space) -> Numeric:
    """An architecture, int16 (positions,). A parameter for each elastic stage and each position that is active.

    Parameters are named by the space: ``stage2 depth``, ``stage2[0]``. Candidates are categories by their names: a
    larger index is not a larger network.
    """
    arch = np.full(len(space.positions), -1, dtype=np.int16)
    for stage in space.stages:
        depth = stage.stop - stage.start
        if stage.elastic:
            depth = trial.suggest_categorical(depth_label(stage), stage.depths)
        for position, place in zip(
            space.positions[stage.start :], range(stage.start, stage.start + depth), strict=False
        ):
            chosen = trial.suggest_categorical(position.label, position.names)
            arch[place] = position.names.index(chosen)
    return arch


def latency_of(trial: optuna.trial.BaseTrial, lut: Lut, space: Space | None = None) -> float:
    """The corrected latency in ms of the architecture that a trial suggests.

    Raises:
        GateError: the table lacks a cell of it.
    """
    space = space or lut.space
    return float(lut.price(suggest_arch(trial, space)[None, :], space=space)[0])
