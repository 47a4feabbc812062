"""The table of a space in the making: what is known of it, how wrong it is expected to be, what to measure next.

Everything follows from the measurements and the seed: the same store gives the same answer, whoever filled it and in
however many sittings. Nothing here measures; ``adaptive`` does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.records import RuntimeProfile
from ...profiler.workload import Workload
from ..dataset import Sample
from ..kernel_work import kind_of
from ..predictor import GRAPHS_MIN, LatencyPredictor
from ..space import Space
from .error_model import ErrorSizes, choose, condition, prior_covariance, rough_ms
from .lut_error import PROCESS_SIGMA, Evidence, LutError, estimate_error, noise_variance, process_sigma

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Architectures that stand for the space: the 90th percentile of their errors is known within 2 points of rank.
ARCHITECTURES = 500
#: Cells whose predictions are judged after they were measured: as many as are measured together at the least.
NEWEST = 8
#: How much larger each cell's own error may be than the model of errors has it: so large that the cells hang together
#: hardly at all. Nobody knows which of both a device is nearer to, so the larger of both estimates counts.
_LONELY = 0.1
#: Other graphs of the store that the model of errors takes into account, newest first: a matrix of more costs seconds.
_RELATED_MAX = 1500


@dataclass(frozen=True)
class Candidate:
    """A cell to measure next, and why.

    Attributes:
        gain: share of the expected squared error of the prices that it takes away; None for one that is the first with
            some kind of kernel, without which there is no price.
    """

    place: int
    key: str
    why: str
    gain: float | None = None


@dataclass(frozen=True)
class Knowledge:
    """What measurements make of a table. Arrays have one entry per distinct cell.

    Attributes:
        latency_ms: measured, else predicted; NaN where neither is possible.
        measured: which cells were.
        kinds: kinds of kernels of which something was measured.
        estimate: None while a cell has no price at all.
        covariance: of the log errors that are left, before scaling, shape (cells, cells).
        shares: of each cell in each architecture's latency, shape (architectures, cells).
        noise: variance of the log error that measuring a cell would leave.
    """

    latency_ms: Floats
    measured: Bools
    kinds: frozenset[str]
    estimate: LutError | None
    covariance: Floats = field(repr=False)
    shares: Floats = field(repr=False)
    noise: float

    @property
    def unpriced(self) -> list[int]:
        """Places of the cells that are neither measured nor predictable."""
        return np.flatnonzero(np.isnan(self.latency_ms)).tolist()


class LutSurvey:
    """The cells of a space, how often its architectures use them, and their kernels under a profile.

    Args:
        graphs: kernels by graph hash where they are known already; others are asked of the runtime.
        seed: of the sample of architectures and of the predictor.
    """

    def __init__(
        self,
        space: Space,
        profile: RuntimeProfile,
        *,
        graphs: Mapping[str, Sequence[Kernel]] | None = None,
        sizes: ErrorSizes | None = None,
        seed: int = 0,
    ) -> None:
        self.space, self.seed = space, seed
        self._profile, self._sizes = profile, sizes or ErrorSizes()
        self._graphs: dict[str, tuple[Kernel, ...]] = {name: tuple(graph) for name, graph in (graphs or {}).items()}
        self.workloads: dict[str, Workload] = {}
        place_of: dict[str, int] = {}
        keys: list[str] = []
        place_of_hash: dict[str, int] = {}
        for cell in space.measurable:
            workload = space.workload(cell)
            assert workload is not None, "a measurable cell executes something"
            if workload.graph_hash not in self.workloads:
                self.workloads[workload.graph_hash] = workload
                keys.append(cell.key)
            place_of[cell.key] = place_of_hash.setdefault(workload.graph_hash, len(place_of_hash))
        self.keys, self.hashes = tuple(keys), tuple(self.workloads)
        self.graphs = [self._kernels(workload) for workload in self.workloads.values()]
        self.uses = _uses(space, place_of, len(keys), seed)
        self._cell_kinds = [frozenset(filter(None, map(kind_of, graph))) for graph in self.graphs]

    def know(self, samples: Sequence[Sample]) -> Knowledge:
        """What is known after these measurements of the device and profile, oldest first, of this space and others."""
        graphs = [self._kernels(sample.workload) for sample in samples]
        predictor = self._fit(graphs, samples) if len(samples) >= GRAPHS_MIN else None
        known, scene, before = self._known(samples, graphs, predictor)
        if known.unpriced:
            return known
        unseen = self._unseen(predictor, graphs, samples, scene.rows)
        both = [
            self._estimate(scene, before + own**2 * np.eye(len(before)), known.measured, known.shares, unseen)
            for own in (0.0, _LONELY)
        ]
        # With too little evidence neither has an error.
        return replace(known, estimate=max(both, key=lambda one: one.error or 0.0))

    def after(
        self, samples: Sequence[Sample], graphs: Sequence[tuple[Kernel, ...]], predictor: LatencyPredictor
    ) -> Knowledge:
        """The same by a predictor that is trained already, and without an estimate: nothing is trained for it.

        Args:
            graphs: the kernels of each sample.
        """
        return self._known(samples, graphs, predictor)[0]

    def _known(
        self,
        samples: Sequence[Sample],
        graphs: Sequence[tuple[Kernel, ...]],
        predictor: LatencyPredictor | None,
    ) -> tuple[Knowledge, _Scene, Floats]:
        """All but the estimate, and what that is made of: the graphs, and the covariance of their errors before."""
        scene = self._scene(samples, graphs)
        cells = len(self.hashes)
        prices, priced_ms = _prices(predictor, scene.graphs)
        latency_ms, measured = priced_ms[:cells], np.zeros(cells, dtype=bool)
        for row, sample in zip(scene.rows, samples, strict=True):
            if row is not None and row < cells:
                latency_ms[row], measured[row] = sample.latency_ms, True
        rough_of = np.array([sum(one) for one in prices[:cells]])
        shares = self.uses * np.where(np.isnan(latency_ms), rough_of, latency_ms)
        shares /= shares.sum(axis=1, keepdims=True)
        before = prior_covariance(scene.graphs, prices, self._sizes)
        kinds = frozenset(kind for graph in graphs for kernel in graph if (kind := kind_of(kernel)) is not None)
        covariance = condition(before, scene.measured, scene.noise, range(cells))
        return Knowledge(latency_ms, measured, kinds, None, covariance, shares, scene.typical_noise), scene, before

    def _scene(self, samples: Sequence[Sample], graphs: Sequence[tuple[Kernel, ...]]) -> _Scene:
        cell_of = {graph_hash: place for place, graph_hash in enumerate(self.hashes)}
        others = [place for place, one in enumerate(samples) if one.workload.graph_hash not in cell_of][-_RELATED_MAX:]
        row_of = {place: len(self.hashes) + row for row, place in enumerate(others)}
        rows = [cell_of.get(one.workload.graph_hash, row_of.get(place)) for place, one in enumerate(samples)]
        sigma = process_sigma(samples)
        variances = [noise_variance(sample, sigma) for sample in samples]
        typical = float(np.median(variances)) if variances else PROCESS_SIGMA**2
        noise = np.full(len(self.hashes) + len(others), typical)
        for row, variance in zip(rows, variances, strict=True):
            if row is not None:
                noise[row] = variance
        return _Scene([*self.graphs, *(graphs[place] for place in others)], rows, noise, typical)

    def _estimate(
        self, scene: _Scene, before: Floats, measured: Bools, shares: Floats, unseen: Sequence[_Unseen]
    ) -> LutError:
        """The error of the table under one assumption on how errors hang together."""
        cells = len(self.hashes)
        is_open = np.where(measured, 0.0, 1.0)
        left = condition(before, scene.measured, scene.noise, range(cells)) * is_open[:, None] * is_open[None]
        noise = np.where(measured, scene.noise[:cells], 0.0)
        evidence = _evidence(unseen, scene, before) if unseen else None
        return estimate_error(shares, left, noise, scene.typical_noise, evidence)

    def choose(self, knowledge: Knowledge, count: int, *, without: Collection[int] = ()) -> list[Candidate]:
        """Up to ``count`` cells to measure next: kinds of kernels nobody has measured first, then the largest gains.

        Args:
            without: places of cells that cannot be measured.
        """
        open_cells = set(np.flatnonzero(~knowledge.measured).tolist()) - set(without)
        chosen = self._new_kinds(knowledge, sorted(open_cells), count)
        taken = [candidate.place for candidate in chosen]
        cells = range(len(self.hashes))
        noise = np.full(len(self.hashes), knowledge.noise)
        left = condition(knowledge.covariance, taken, noise, cells)
        importance = knowledge.shares.T @ knowledge.shares / len(knowledge.shares)
        for place, gain in choose(left, importance, noise, open_cells - set(taken), count - len(taken)):
            why = f"takes {100 * gain:.0f} % off what is left of the expected squared error"
            chosen.append(Candidate(place, self.keys[place], why, gain))
        return chosen

    def _new_kinds(self, knowledge: Knowledge, open_cells: Sequence[int], count: int) -> list[Candidate]:
        """Without one measured kernel of its kind a cell has no price at all: no other error is larger."""
        known: set[str] = set(knowledge.kinds)
        chosen: list[Candidate] = []
        weight = knowledge.shares.mean(axis=0)
        left = list(open_cells)
        while left and len(chosen) < count:
            place = max(left, key=lambda one: (len(self._cell_kinds[one] - known), weight[one]))
            new = sorted(self._cell_kinds[place] - known)
            if not new:
                break
            left.remove(place)
            known.update(new)
            chosen.append(Candidate(place, self.keys[place], f"first with {', '.join(new)}"))
        return chosen

    def _kernels(self, workload: Workload) -> tuple[Kernel, ...]:
        if workload.graph_hash not in self._graphs:
            self._graphs[workload.graph_hash] = priced_kernels(workload, self._profile).kernels
        return self._graphs[workload.graph_hash]

    def _fit(
        self, graphs: Sequence[Sequence[Kernel]], samples: Sequence[Sample], *, folds: int = 5
    ) -> LatencyPredictor:
        latency_ms = [sample.latency_ms for sample in samples]
        return LatencyPredictor(folds=folds, random_state=self.seed).fit(graphs, latency_ms)

    def _unseen(
        self,
        predictor: LatencyPredictor | None,
        graphs: Sequence[Sequence[Kernel]],
        samples: Sequence[Sample],
        rows: Sequence[int | None],
    ) -> list[_Unseen]:
        """Cells of the space as predicted by models that had not seen them: fold by fold, and those measured last."""
        if predictor is None:
            return []
        ours = [place for place, row in enumerate(rows) if row is not None and row < len(self.hashes)]
        errors = dict(enumerate(np.log(predictor.held_out_ms_ / [sample.latency_ms for sample in samples]).tolist()))
        found = []
        for number in np.unique(predictor.fold_):
            # All graphs of the fold were held out; only the cells of the space are asked about.
            fold = frozenset(np.flatnonzero(predictor.fold_ == number).tolist())
            cells = {place: errors[place] for place in ours if place in fold and np.isfinite(errors[place])}
            found.append(_Unseen(fold, cells, newest=False))
        last = ours[-NEWEST:]
        earlier = [place for place in range(len(samples)) if place not in set(last)]
        if len(earlier) >= GRAPHS_MIN:
            # Two folds: what they calibrate is not asked for.
            model = self._fit([graphs[place] for place in earlier], [samples[place] for place in earlier], folds=2)
            guessed_ms = _prices(model, [graphs[place] for place in last])[1]
            ratios = np.log(guessed_ms / [samples[place].latency_ms for place in last])
            cells = {place: ratio for place, ratio in zip(last, ratios.tolist(), strict=True) if np.isfinite(ratio)}
            found.append(_Unseen(frozenset(last), cells, newest=True))
        return found


@dataclass(frozen=True)
class _Scene:
    """The cells and the other graphs of the store, as the model of errors sees them.

    Attributes:
        graphs: of the cells first, then others.
        rows: of each sample, which of the graphs it measured; None for those that are left out.
        noise: variance of the log error of each graph's measurement, made or to be made.
    """

    graphs: Sequence[Sequence[Kernel]]
    rows: Sequence[int | None]
    noise: Floats
    typical_noise: float

    @property
    def measured(self) -> list[int]:
        return [row for row in self.rows if row is not None]


@dataclass(frozen=True)
class _Unseen:
    """Samples that one model had not seen, by place, and its log errors on those of the space that it could predict."""

    hidden: frozenset[int]
    errors: Mapping[int, float]
    newest: bool


def _evidence(unseen: Sequence[_Unseen], scene: _Scene, before: Floats) -> Evidence:
    """The errors over what the model of errors expects of them, given what the predicting model had seen."""
    held_out: list[float] = []
    newest: list[float] = []
    for some in unseen:
        seen = [row for place, row in enumerate(scene.rows) if row is not None and place not in some.hidden]
        asked = [row for place in some.errors if (row := scene.rows[place]) is not None]
        expected = np.diag(condition(before, seen, scene.noise, asked)) + scene.noise[asked]
        found = np.array(list(some.errors.values())) / np.sqrt(expected)
        (newest if some.newest else held_out).extend(found.tolist())
    return Evidence(np.array(held_out), np.array(newest))


def _prices(predictor: LatencyPredictor | None, graphs: Sequence[Sequence[Kernel]]) -> tuple[list[list[float]], Floats]:
    """Price of each kernel, a rough one where there is none, and of each graph, NaN where a kernel has none."""
    if predictor is None:
        return [[rough_ms(kernel) for kernel in graph] for graph in graphs], np.full(len(graphs), np.nan)
    found = predictor.price(graphs)
    by_kernel = [
        [rough_ms(one.kernel) if one.latency_ms is None else one.latency_ms for one in price.kernels] for price in found
    ]
    return by_kernel, np.array([np.nan if price.is_lower_bound else price.total_ms for price in found])


def _uses(space: Space, place_of: Mapping[str, int], cells: int, seed: int) -> Floats:
    """How often each architecture of a sample uses each distinct graph, shape (architectures, graphs)."""
    of_cell = space.uses(space.sample(min(ARCHITECTURES, space.size), seed))
    uses = np.zeros((len(of_cell), cells))
    for number, cell in enumerate(space.measurable):
        uses[:, place_of[cell.key]] += of_cell[:, number]
    return uses
