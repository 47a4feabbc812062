"""What a fleet makes one believe of a new device: three families of hypotheses, each a design for ``bayes_lut.py``.

``mean``: it is like the mean of the fleet, moved by the sources' deviations from it and by costs of operators.
``twin``: it is like one of the sources, moved by the others' distance from that one and by costs of operators.
``none``: it is like nobody; operators alone explain it. Safe where a device resembles no source.
Which family, and how far devices usually move, is learnt from the fleet itself (``lattice_prior.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .encoding import Block, Encoding
from .fleet import Fleet
from .prior_design import Branch, Design, Group, Lattice, lattice_of, scaled_group

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FAMILIES = ("mean", "twin", "none")
#: Standard deviations tried, by family and group, as shares of an average latency. A coarse lattice is enough: half a
#: step changes no prediction visibly. Without a fleet costs of operators have all to explain, so they may be large.
DEVIATIONS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "mean": {
        "level": (0.1, 0.3),
        "sources": (0.0, 0.1, 0.3, 1.0),
        "counts": (0.0, 0.03, 0.1, 0.3),
        "live": (0.0, 0.03, 0.1, 0.3),
        "work": (0.0, 0.03, 0.1, 0.3),
        "stage": (0.0, 0.02, 0.06),
        "one_hot": (0.0, 0.02, 0.06),
    },
    "twin": {
        "level": (0.1, 0.3),
        "sources": (0.0, 0.1, 0.3),
        "counts": (0.0, 0.03, 0.1, 0.3),
        "live": (0.0, 0.03, 0.1, 0.3),
        "work": (0.0, 0.03, 0.1, 0.3),
        "stage": (0.0, 0.02, 0.06),
        "one_hot": (0.0, 0.02, 0.06),
    },
    "none": {
        "level": (0.5,),
        "counts": (0.03, 0.1, 0.3, 1.0),
        "live": (0.0, 0.03, 0.1, 0.3),
        "work": (0.0, 0.1, 0.3),
        "stage": (0.0, 0.02, 0.06, 0.15),
        "one_hot": (0.0, 0.02, 0.06, 0.15),
    },
}


@dataclass(frozen=True, eq=False)
class FamilyPrior:
    """What is believed of a family before the first sample: its lattice's prior, and its own share."""

    lattice: Lattice
    log_share: float


def operator_groups(encoding: Encoding) -> tuple[Block, ...]:
    """The encoding's blocks as groups of operator costs: centred, so that they move networks and not the level.

    Counts keep their unit, one occurrence; work terms, whose units differ, are standardised. ``live`` stands with the
    cell's shape: dead code makes both. Blocks for branches that run side by side are left to predictors that have many
    samples.
    """
    typical = ~encoding.degenerate
    groups = [_centred(encoding.block("counts"), typical, "counts")]
    physical = _standardised(encoding.block("physical"), typical, "work")
    if "live" in encoding.names:
        live = _centred(encoding.block("live"), typical, "live")
        groups.append(Block("live", live.columns + physical.columns, np.hstack([live.values, physical.values])))
    else:
        groups.append(physical)
    if "stage" in encoding.names:
        groups.append(_centred(encoding.block("stage"), typical, "stage"))
    groups.append(_centred(encoding.block("one_hot"), typical, "one_hot"))
    return tuple(groups)


def family_designs(fleet: Fleet, operators: Sequence[Block]) -> dict[str, tuple[Design, ...]]:
    """The designs of each family that this fleet allows: ``twin`` needs two sources, ``mean`` one, ``none`` none.

    Args:
        operators: ``operator_groups`` of the fleet's encoding; made once, because it is the same for every fleet.
    """
    typical, surfaces = fleet.typical, fleet.relative()
    designs: dict[str, tuple[Design, ...]] = {}
    middle = surfaces.mean(axis=1) if fleet.sources else np.ones(fleet.encoding.size)
    middle = middle / np.median(middle[typical])
    if fleet.sources:
        away = surfaces - middle[:, None]
        designs["mean"] = (_design("mean", middle, away[:, : 0 if len(fleet.names) == 1 else None], fleet, operators),)
    if len(fleet.names) > 1:
        designs["twin"] = tuple(
            _design("twin", twin, np.delete(surfaces, place, axis=1) - twin[:, None], fleet, operators, skip=place)
            for place, twin in enumerate(surfaces.T)
        )
    level = [
        scaled_group("level", ("constant",), np.ones((len(middle), 1)), middle, DEVIATIONS["none"]["level"], typical)
    ]
    designs["none"] = (Design(np.ones(len(middle)), middle, (*level, *_costs("none", middle, typical, operators))),)
    return designs


def make_branches(fleet: Fleet, operators: Sequence[Block], priors: Mapping[str, FamilyPrior]) -> tuple[Branch, ...]:
    """Every design of the fleet with its family's prior; a family without one gets a flat lattice and an equal share.

    A twin is named ``twin:<source>``.
    """
    branches = []
    for family, designs in family_designs(fleet, operators).items():
        prior = priors.get(family) or FamilyPrior(lattice_of(designs[0]), -float(np.log(len(FAMILIES))))
        names = [f"twin:{name}" for name in fleet.names] if family == "twin" else [family]
        share = prior.log_share - float(np.log(len(designs)))
        branches += [Branch(name, design, prior.lattice, share) for name, design in zip(names, designs, strict=True)]
    return tuple(branches)


def _design(
    family: str, surface: Floats, others: Floats, fleet: Fleet, operators: Sequence[Block], skip: int | None = None
) -> Design:
    """A design around a surface, which noise is relative to as well. Its level may move, and its contrast."""
    typical, tried = fleet.typical, DEVIATIONS[family]
    level = np.column_stack([surface, surface - 1.0])
    groups = [scaled_group("level", ("scale", "contrast"), level, surface, tried["level"], typical)]
    if others.shape[1]:
        names = [name for place, name in enumerate(fleet.names) if place != skip]
        groups.append(scaled_group("sources", names, others, surface, tried["sources"], typical))
    return Design(surface, surface, (*groups, *_costs(family, surface, typical, operators)))


def _costs(family: str, noise: Floats, typical: Bools, operators: Sequence[Block]) -> list[Group]:
    tried = DEVIATIONS[family]
    return [scaled_group(b.name, b.columns, b.values, noise, tried[b.name], typical) for b in operators]


def _centred(block: Block, typical: Bools, name: str) -> Block:
    return Block(name, block.columns, block.values - block.values[typical].mean(axis=0))


def _standardised(block: Block, typical: Bools, name: str) -> Block:
    centred = _centred(block, typical, name)
    spread = centred.values[typical].std(axis=0)
    return Block(name, block.columns, np.where(spread > 0, centred.values / np.where(spread > 0, spread, 1.0), 0.0))
