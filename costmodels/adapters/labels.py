"""The choices of a space by label and value, for searches that know nothing of indices.

A position is labelled ``stage2[0]`` and takes the names of its candidates; an elastic stage ``stage2 depth`` and takes
its depths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...profiler.errors import UsageError
from ..space import Space
from ..spaces.coding import Numeric, Stage


@dataclass(frozen=True)
class Choice:
    """One choice that a search makes; ``values`` are names of candidates, or depths."""

    label: str
    values: tuple[str, ...] | tuple[int, ...]


def depth_label(stage: Stage) -> str:
    """What the depth of an elastic stage is called."""
    return f"{stage.layer} depth"


def depth_choices(space: Space) -> dict[str, Choice]:
    """A choice for each elastic stage, by the stage's layer."""
    return {stage.layer: Choice(depth_label(stage), stage.depths) for stage in space.stages if stage.elastic}


def candidate_choices(space: Space) -> tuple[Choice, ...]:
    """A choice for each position, in order."""
    return tuple(Choice(position.label, position.names) for position in space.positions)


def arch_of_choices(space: Space, chosen: Mapping[str, object]) -> Numeric:
    """An architecture, int16 (positions,), from a value for each label. Other labels have no part in it.

    What is chosen for a place beyond the depth of its stage does not matter, and may be left out.

    Raises:
        UsageError: a choice is missing, or a value is none of its values.
    """
    arch = np.full(len(space.positions), -1, dtype=np.int16)
    depths, candidates = depth_choices(space), candidate_choices(space)
    for stage in space.stages:
        count = stage.stop - stage.start
        if stage.elastic:
            choice = depths[stage.layer]
            count = stage.depths[_index(choice, chosen)]
        for place in range(stage.start, stage.start + count):
            arch[place] = _index(candidates[place], chosen)
    return arch


def _index(choice: Choice, chosen: Mapping[str, object]) -> int:
    value = chosen.get(choice.label)
    for index, known in enumerate(choice.values):
        if known == value:
            return index
    said = f"{value!r} was chosen" if choice.label in chosen else "nothing was chosen"
    raise UsageError(
        f"{said} for '{choice.label}'", remedy=f"Choose one of {', '.join(str(known) for known in choice.values)}."
    )
