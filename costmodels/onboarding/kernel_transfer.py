"""A predictor for a new device from few of its kernels: another device's measurements, translated.

What a known device measured is moved by the shift that the few common kernels show (``kernel_shift``), and a predictor
is trained on the result as on any measurements: it is an ordinary one, and ``edgecost predict`` takes it. Several known
devices are mixed by the evidence of their shifts. Its intervals are not those of the translated numbers, which hide
what the translation gets wrong, but of the new device's own kernels, each left out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from ...profiler.errors import GateError, UsageError
from ...profiler.kernels.graph import Kernel
from ...profiler.records import Json, RuntimeProfile
from ...profiler.workload import Workload
from ..composition import FIT_MIN, Composition
from ..dataset import Sample
from ..kernel_work import kind_of
from ..predictor import LatencyPredictor
from ..space_models.efficiency import EfficiencyReport
from .kernel_efficiency import kernel_efficiency
from .kernel_shift import Shift, choose_kernels, fit_shift, shift_columns
from .kernel_sources import KNOWN_MIN, KernelSource, readable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Fewest kernels of a new device that say how it differs.
NEW_MIN = 10
#: Kernels shorter than this are not chosen: on a slower clock the overhead would be most of them.
CHOSEN_MS = 0.01
#: A known device with less than this share of the evidence is left out of the mixture.
WEIGHT_MIN = 0.01


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """Which kernels to measure, in order, and how many of each kind."""

    workloads: tuple[Workload, ...]
    kinds: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Transferred:
    """A predictor that was made for a new device.

    Attributes:
        kernels: of the new device, on which the shift stands.
        weights: share of each known device.
        errors_percent: mean absolute error on kernels of the new device, each unknown to the model that prices it:
            ``as it is`` (the known device's predictor unchanged), ``one factor``, and ``shift``, which is this one;
            ``within_10``: share of kernels within 10 % by the same names.
        factor: the new device's kernels beside the known one's, a median.
        whole: networks of the new device that fitted what a network takes beyond its kernels, with their kernels;
            empty where the known device's stand in.
        judged: kernels of the new device behind ``errors_percent``, ``judged_graphs`` their kernels, and ``judged_ms``
            what this predictor says of each without having seen it, ``judged_spread`` what the radius of its interval
            is multiplied by; shape (kernels,).
        efficiency: what more kernels would bring.
    """

    predictor: LatencyPredictor
    kernels: int
    weights: Mapping[str, float]
    errors_percent: Mapping[str, float]
    within_10: Mapping[str, float]
    factor: float
    whole: tuple[tuple[Sample, tuple[Kernel, ...]], ...]
    judged: tuple[Sample, ...]
    judged_graphs: tuple[tuple[Kernel, ...], ...]
    judged_ms: Floats
    judged_spread: Floats
    efficiency: EfficiencyReport

    @property
    def networks(self) -> int:
        """How many of the new device's fitted what a network takes beyond its kernels."""
        return len(self.whole)

    def document(self) -> dict[str, Json]:
        """As JSON, without the model."""
        return {
            "kernels": self.kernels,
            "networks": self.networks,
            "factor": self.factor,
            "known_devices": dict(self.weights),
            "errors_percent": dict(self.errors_percent),
            "within_10": dict(self.within_10),
            "efficiency": asdict(self.efficiency),
        }


def plan_transfer(sources: Sequence[KernelSource], budget: int) -> KernelPlan:
    """Kernels that say most about how a new device differs, out of those that every known device measured.

    Raises:
        UsageError: no known device.
    """
    _need(sources)
    common = set(sources[0].hashes).intersection(*(source.hashes for source in sources[1:]))
    first = sources[0]
    columns = shift_columns([graph[0] for graph in first.graphs])
    chosen = choose_kernels(columns, _candidates(first, common), budget).tolist()
    kinds: dict[str, int] = {}
    for place in chosen:
        kind = kind_of(first.graphs[place][0]) or ""
        kinds[kind] = kinds.get(kind, 0) + 1
    return KernelPlan(tuple(first.samples[place].workload for place in chosen), kinds)


def _candidates(source: KernelSource, common: Container[str]) -> list[int]:
    """Rows of kernels that every known device measured, and long enough to be timed anywhere."""
    return [
        place
        for place, sample in enumerate(source.samples)
        if sample.workload.graph_hash in common and sample.latency_ms >= CHOSEN_MS
    ]


def transfer(
    sources: Sequence[KernelSource],
    measured: Sequence[Sample],
    networks: Sequence[Sample],
    profile: RuntimeProfile,
    *,
    core_cache_bytes: int | None = None,
    seed: int = 0,
) -> Transferred:
    """Make a predictor for the device that measured these kernels.

    Args:
        measured: kernels of the new device; those that no known device measured take no part.
        networks: whole networks of the new device. From ``composition.FIT_MIN`` on they say what a network takes beyond
            its kernels, otherwise the heaviest known device does.
        profile: of the new device.

    Raises:
        UsageError: no known device.
        GateError: too few kernels that a known device has measured, too.
    """
    _need(sources)
    new = {sample.workload.graph_hash: math.log(sample.latency_ms) for sample in measured}
    parts = _mixture(sources, new)
    rows = _translate(parts, new)
    whole = readable(networks, profile)
    whole = whole if len(whole) >= FIT_MIN else []
    predictor = LatencyPredictor(random_state=seed).fit(
        [*(row.graph for row in rows), *(graph for _, graph in whole)],
        [*(math.exp(row.label) for row in rows), *(sample.latency_ms for sample, _ in whole)],
        is_network=[False] * len(rows) + [True] * len(whole),
        sessions_ms=[*((math.exp(row.label),) for row in rows), *(sample.sessions_ms for sample, _ in whole)],
        core_cache_bytes=core_cache_bytes,
    )
    if not whole:
        predictor.composition_ = _borrowed_composition(_heaviest(parts), core_cache_bytes, seed)
        # Their errors would be those of another device.
        predictor.network_scores_ = np.zeros(0)
    by_hash = {sample.workload.graph_hash: sample for sample in measured}
    return _judge(predictor, parts, rows, by_hash, tuple(whole))


def _judge(
    predictor: LatencyPredictor,
    parts: Sequence[_Part],
    rows: Sequence[_Row],
    measured: Mapping[str, Sample],
    whole: tuple[tuple[Sample, tuple[Kernel, ...]], ...],
) -> Transferred:
    """Hold the predictor against the new device's kernels, and make its intervals of that."""
    judged = _judged(rows, predictor.held_out_ms_)
    samples = tuple(measured[rows[place].graph_hash] for place in judged)
    truth_ms = np.array([sample.latency_ms for sample in samples])
    errors = _errors([rows[place] for place in judged], predictor.held_out_ms_[judged], np.log(truth_ms))
    # The trees' errors on translated numbers say nothing of the translation.
    spread = predictor.held_out_spread_[judged]
    predictor.scores_ = np.sort(np.abs(errors["shift"]) / spread)
    percent = {name: np.abs(np.expm1(error)) * 100 for name, error in errors.items()}
    heaviest = _heaviest(parts)
    return Transferred(
        predictor=predictor,
        kernels=len(judged),
        weights={part.source.name: part.weight for part in parts},
        errors_percent={name: float(error.mean()) for name, error in percent.items()},
        within_10={name: float((error <= 10).mean()) for name, error in percent.items()},
        factor=math.exp(heaviest.shift.common),
        whole=whole,
        judged=samples,
        judged_graphs=tuple(rows[place].graph for place in judged),
        judged_ms=np.exp(errors["shift"]) * truth_ms,
        judged_spread=spread,
        efficiency=_efficiency(heaviest, float(percent["shift"].mean())),
    )


def _efficiency(part: _Part, error_percent: float) -> EfficiencyReport:
    columns = shift_columns([graph[0] for graph in part.source.graphs])
    candidates = np.array(_candidates(part.source, frozenset(part.source.hashes)), np.int64)
    return kernel_efficiency(columns, part.shift, part.rows, candidates, error_percent)


def _heaviest(parts: Sequence[_Part]) -> _Part:
    return max(parts, key=lambda part: part.weight)


@dataclass(frozen=True, eq=False)
class _Part:
    """A known device with its shift, its share, and the rows of its kernels that the new device measured."""

    source: KernelSource
    shift: Shift
    rows: Ints
    weight: float


@dataclass(frozen=True, eq=False)
class _Row:
    """A kernel as the mixture of known devices has it, in logarithms of milliseconds.

    Attributes:
        label: what the predictor learns: the new device's own number where there is one, else ``shifted``.
        known: without the shift; ``left_out``: shifted by what the other kernels say; NaN where it was not measured.
    """

    graph: tuple[Kernel, ...]
    graph_hash: str
    label: float
    known: float
    shifted: float
    left_out: float


def _need(sources: Sequence[KernelSource]) -> None:
    if not sources:
        raise UsageError(
            f"no other device or profile in the database has {KNOWN_MIN} measured kernels of this kind",
            remedy="measure them once on a device that you have: edgecost campaign kernels; without one, learn this"
            " device from its own 1,400: edgecost campaign kernels, edgecost train",
        )


def _mixture(sources: Sequence[KernelSource], new: Mapping[str, float]) -> list[_Part]:
    """Each known device that the new one has enough kernels in common with, by the evidence of its shift.

    The evidence is that of the kernels which all of them know: others would count for some of them only.
    """
    places = [np.flatnonzero([one in new for one in source.hashes]) for source in sources]
    usable = [(source, rows) for source, rows in zip(sources, places, strict=True) if len(rows) >= NEW_MIN]
    if not usable:
        most = max(map(len, places))
        raise GateError(
            f"{most} measured kernels are known from another device; {NEW_MIN} is the least",
            remedy="measure more: --budget 20; or see what failed: edgecost db info --failures",
        )
    shared = set(new).intersection(*(source.hashes for source, _ in usable))
    shifts, evidence = [], []
    for source, rows in usable:
        columns = shift_columns([graph[0] for graph in source.graphs])
        ratio = {row: _log_ratio(source, row, new) for row in rows.tolist()}
        shifts.append(fit_shift(columns, rows, list(ratio.values())))
        fair = [row for row in ratio if source.hashes[row] in shared]
        evidence.append(fit_shift(columns, fair, [ratio[row] for row in fair]).log_evidence if len(fair) > 1 else 0.0)
    weight = np.exp(np.array(evidence) - max(evidence))
    weight /= weight.sum()
    weight = np.where(weight >= WEIGHT_MIN, weight, 0.0)
    weight /= weight.sum()
    return [
        _Part(source, shift, rows, share)
        for (source, rows), shift, share in zip(usable, shifts, weight.tolist(), strict=True)
        if share
    ]


def _log_ratio(source: KernelSource, row: int, new: Mapping[str, float]) -> float:
    sample = source.samples[row]
    return new[sample.workload.graph_hash] - math.log(sample.latency_ms)


def _translate(parts: Sequence[_Part], new: Mapping[str, float]) -> list[_Row]:
    """Every kernel of the known devices once, the mean of its translations by the devices' weights."""
    seen: dict[str, tuple[tuple[Kernel, ...], list[tuple[float, float, float, float]]]] = {}
    for part in parts:
        left_out = dict(zip(part.rows.tolist(), part.shift.loo.tolist(), strict=True))
        for place, (sample, graph) in enumerate(zip(part.source.samples, part.source.graphs, strict=True)):
            known, moved = math.log(sample.latency_ms), float(part.shift.log_ratio[place])
            number = (part.weight, known, known + moved, known + left_out.get(place, math.nan))
            seen.setdefault(sample.workload.graph_hash, (graph, []))[1].append(number)
    rows = []
    for graph_hash, (graph, numbers) in seen.items():
        table = np.array(numbers)
        known, shifted, left_out_mean = (table[:, 0] @ table[:, 1:] / table[:, 0].sum()).tolist()
        is_measured = graph_hash in new
        label = new[graph_hash] if is_measured else shifted
        rows.append(_Row(graph, graph_hash, label, known, shifted, left_out_mean if is_measured else math.nan))
    return rows


def _judged(rows: Sequence[_Row], held_out_ms: Floats) -> list[int]:
    """Kernels of the new device that the trees have priced without having seen them."""
    return [place for place, row in enumerate(rows) if np.isfinite([row.left_out, held_out_ms[place]]).all()]


def _errors(rows: Sequence[_Row], held_out_ms: Floats, truth: Floats) -> dict[str, Floats]:
    """Log errors on the new device's kernels: of the known device's predictor as it is, of it with one factor, and of
    the shifted one. The trees had not seen the kernel, the factor and the shift are those of the other kernels.

    Args:
        rows: kernels of ``_judged``, ``held_out_ms`` what the trees said of each, and ``truth`` the logarithm of what
            was measured.
    """
    unshifted = np.log(held_out_ms) - np.array([row.shifted - row.known for row in rows])
    shift = np.array([row.left_out - row.known for row in rows])
    ratio = truth - np.array([row.known for row in rows])
    factor = np.array([np.median(np.delete(ratio, place)) for place in range(len(rows))])
    return {
        "as it is": unshifted - truth,
        "one factor": unshifted + factor - truth,
        "shift": unshifted + shift - truth,
    }


def _borrowed_composition(part: _Part, core_cache_bytes: int | None, seed: int) -> Composition | None:
    """What a network takes beyond its kernels, as on the known device, with the common factor on what has a unit."""
    source = part.source
    if len(source.networks) < FIT_MIN:
        return None
    own = LatencyPredictor(random_state=seed).fit(
        [*source.graphs, *source.network_graphs],
        [sample.latency_ms for sample in (*source.samples, *source.networks)],
        is_network=[False] * len(source.graphs) + [True] * len(source.networks),
        core_cache_bytes=core_cache_bytes,
    )
    if own.composition_ is None:
        return None
    convolutions, others, activations = np.multiply(
        own.composition_.ms_per_megabyte, math.exp(part.shift.common)
    ).tolist()
    return replace(own.composition_, ms_per_megabyte=(convolutions, others, activations))
