"""A small, honest consumer of a table: the best trade-offs below a latency limit, by NSGA-II or by looking at a list.

It shows what pricing is for and is no framework for architecture search: without accuracies it maximises work, which is
no accuracy. NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation 6(2), 2002) is pymoo's.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..profiler.errors import GateError, MissingPackage, UsageError
from .cell_macs import cell_macs
from .cost_table import CostTable
from .lut import Lut
from .space import Space
from .spaces.coding import Numeric

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Front:
    """Architectures of which none is both faster and better than another, fastest first.

    Attributes:
        archs: int16 (n, positions).
        latency_ms: corrected, (n,).
        value: what was maximised, (n,).
        priced: architectures that were looked at.
    """

    archs: Numeric
    latency_ms: Floats
    value: Floats
    priced: int


def front_of(archs: Numeric, latency_ms: Floats, value: Floats, limit_ms: float) -> Front:
    """The non-dominated ones below the limit.

    Raises:
        GateError: none is below it.
    """
    below = np.flatnonzero(latency_ms <= limit_ms)
    if not len(below):
        raise GateError(
            f"none of {len(archs)} architectures takes {limit_ms:g} ms or less: the fastest takes"
            f" {latency_ms.min():.4g} ms",
            remedy="raise the limit, or take a smaller resolution, width or space",
        )
    # Fastest first, of equals the best first: then what is better than everything before it is not dominated.
    order = below[np.lexsort((-value[below], latency_ms[below]))]
    best = np.maximum.accumulate(value[order])
    kept = order[np.concatenate([[True], best[1:] > best[:-1]])]
    return Front(archs[kept], latency_ms[kept], value[kept], len(archs))


def search_listed(lut: Lut, space: Space, file: Path, limit_ms: float) -> Front:
    """The front of the architectures in a CSV file: a column of indices for each position, then ``accuracy``. Exact.

    Raises:
        UsageError: the file is not of that form, or an architecture is not of the space.
        GateError: none is below the limit.
    """
    archs, accuracy = read_accuracies(file, space)
    return front_of(archs, lut.price(archs, space=space), accuracy, limit_ms)


def read_accuracies(file: Path, space: Space) -> tuple[Numeric, Floats]:
    """Architectures and their accuracies, in any unit."""
    form = f"Write a header that ends in 'accuracy', and rows of {len(space.positions)} indices and a number."
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            head, *rows = csv.reader(lines)
        numbers = np.array(rows, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", remedy=form) from error
    if head[-1:] != ["accuracy"] or numbers.ndim != 2 or numbers.shape[1] != len(space.positions) + 1:
        raise UsageError(f"{file} has {len(head)} columns, the last of which is {head[-1:]}", remedy=form)
    if not np.isfinite(numbers).all():
        raise UsageError(f"{file} holds something that is not a number", remedy=form)
    return space.check_arch(np.rint(numbers[:, :-1]).astype(np.int64)), numbers[:, -1]


def search_by_work(
    lut: Lut, space: Space, limit_ms: float, *, population: int = 64, generations: int = 40, seed: int = 0
) -> Front:
    """The front of latency and multiply-accumulates that NSGA-II finds; no promise that there is no better one.

    Raises:
        GateError: nothing that was looked at is below the limit.
        MissingPackage: pymoo is not installed.
    """
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling
        from pymoo.optimize import minimize
    except ImportError as error:
        raise MissingPackage("pymoo is needed to search", remedy="pip install 'edgecost[search]'") from error
    from .adapters.pymoo_problem import LatencyProblem

    macs = CostTable.from_costs(space, cell_macs(space))
    looked_at: list[Numeric] = []

    def less_work(archs: Numeric) -> Floats:
        looked_at.append(archs)
        return -macs.price(archs)

    repair = RoundingRepair()
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=repair),
        mutation=PM(eta=3.0, vtype=float, repair=repair),
        eliminate_duplicates=True,
    )
    problem = LatencyProblem(lut, less_work, limit_ms=limit_ms, space=space)
    minimize(problem, algorithm, ("n_gen", generations), seed=seed)
    archs = np.unique(np.concatenate(looked_at), axis=0)
    return front_of(archs, lut.price(archs, space=space), macs.price(archs), limit_ms)
