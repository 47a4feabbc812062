"""How far devices usually move, learnt from the fleet: each source in turn plays the unknown device.

The prior over the lattice's points, all families side by side, after one step of expectation–maximisation from equal
shares (empirical Bayes over a fixed grid: Kiefer & Wolfowitz, Annals of Mathematical Statistics 27, 1956; Laird, JASA
73, 1978), mixed with the equal shares. More steps follow a handful of devices too closely. No sample of a new device is
used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .bayes_lut import log_evidence
from .branches import FamilyPrior, family_designs, operator_groups
from .encoding import Block
from .fleet import Fleet, Source
from .prior_design import Lattice, lattice_of

Floats = npt.NDArray[np.float64]

#: Fewest sources: with one left out, two remain, so that every family still has its groups.
SOURCES_MIN = 3
#: Samples that a source shows when it plays the unknown device.
SAMPLES = 20
#: Fewest plays: a small fleet plays more than one round. The cost grows with the square of the fleet as it is.
PLAYS_MIN = 12
#: Share of the equal prior that stays: a new device may be unlike all that were seen.
FLAT_SHARE = 0.1


def learn_prior(fleet: Fleet, *, seed: int = 0) -> dict[str, FamilyPrior]:
    """Priors by family; empty where the fleet has fewer than ``SOURCES_MIN`` sources: lattices then stay flat.

    Args:
        seed: which of a source's samples it shows; equal seeds give equal priors.
    """
    if len(fleet.sources) < SOURCES_MIN:
        return {}
    operators = operator_groups(fleet.encoding)
    lattices: dict[str, Lattice] = {}
    rows: list[dict[str, Floats]] = []
    for place, source in enumerate(fleet.sources):
        rest = fleet.without(source.name)
        for draw in range(-(-PLAYS_MIN // len(fleet.sources))):
            generator = np.random.default_rng([seed, place, draw])
            rows.append(_evidence(rest, operators, source, generator, lattices))
    return _shares(list(lattices), lattices, rows)


def _evidence(
    rest: Fleet,
    operators: Sequence[Block],
    source: Source,
    generator: np.random.Generator,
    lattices: dict[str, Lattice],
) -> dict[str, Floats]:
    """Log evidence of the source's samples by family, averaged over the family's designs; notes the lattices."""
    shown = generator.choice(len(source.rows), min(SAMPLES, len(source.rows)), replace=False)
    found = {}
    for family, designs in family_designs(rest, operators).items():
        lattice = lattices.setdefault(family, lattice_of(designs[0]))
        each = [log_evidence(design, lattice, source.rows[shown], source.latency_ms[shown]) for design in designs]
        found[family] = np.logaddexp.reduce(each, axis=0) - np.log(len(designs))
    return found


def _shares(
    families: Sequence[str], lattices: Mapping[str, Lattice], rows: Sequence[Mapping[str, Floats]]
) -> dict[str, FamilyPrior]:
    shapes = [lattices[family].log_prior.shape for family in families]
    sizes = [shape[0] * shape[1] for shape in shapes]
    flat = np.concatenate([np.full(size, 1.0 / (size * len(sizes))) for size in sizes])
    scores = np.array([np.concatenate([row[family].ravel() for family in families]) for row in rows]) + np.log(flat)
    learnt = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).mean(axis=0)
    share = (1.0 - FLAT_SHARE) * learnt + FLAT_SHARE * flat
    priors = {}
    for family, shape, part in zip(families, shapes, np.split(share, np.cumsum(sizes)[:-1]), strict=True):
        lattice = lattices[family]
        inside = np.log(part / part.sum()).reshape(shape)
        priors[family] = FamilyPrior(
            Lattice(lattice.variances, lattice.noise_variances, inside), float(np.log(part.sum()))
        )
    return priors
