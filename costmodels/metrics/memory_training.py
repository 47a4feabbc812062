"""Train a peak memory predictor from the store and judge it: one call from measurements to a model and its report."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...db import Store
from ...profiler.errors import ModelError, UsageError
from ...profiler.kernels.graph import optimise
from ...profiler.memory import METHOD, PURPOSE
from ...profiler.records import Json, Measurement, RuntimeProfile
from ...profiler.workload import Workload
from ..cards.card_file import write_card
from ..cards.model_card import ModelCard
from ..dataset import usable_by_graph
from .judgement import Judgement, judge
from .memory_format import FILES
from .metric import MEMORY
from .metric_card import HeldOut, metric_card, of_device
from .peak_memory import MemoryShape, PeakMemoryPredictor, memory_shape


@dataclass(frozen=True)
class MemorySample:
    """One network as measured.

    Attributes:
        peak_bytes: median over the sessions.
        overhead_bytes: of an empty graph, likewise.
        sessions_bytes: peak of each session, oldest first.
    """

    workload: Workload
    peak_bytes: float
    overhead_bytes: float
    sessions_bytes: tuple[int, ...]


@dataclass(frozen=True)
class MemoryReport:
    """A trained predictor, what it is worth, and what took no part in it, by reason; and its card."""

    predictor: PeakMemoryPredictor
    networks: int
    judgement: Judgement
    left_out: Mapping[str, int]
    card: ModelCard

    def document(self) -> dict[str, Json]:
        """The report as JSON, without the model."""
        return {
            "metric": "memory",
            "unit": "bytes",
            "method": METHOD,
            "networks": self.networks,
            "left_out": dict(self.left_out),
            **self.judgement.document(),
        }

    def save(self, folder: Path, provenance: Mapping[str, Json]) -> None:
        """Write the predictor with its report and origin beside it, and its card."""
        self.predictor.save(folder, {**provenance, "trained_at": self.card.made_at, "report": self.document()})
        write_card(replace(self.card, device=of_device(provenance)), folder, FILES)


def train_memory(store: Store, device_identity: str, profile: RuntimeProfile, *, random_state: int = 0) -> MemoryReport:
    """Train on every network whose peak memory the store holds for a device and profile.

    Raises:
        UsageError: too few peaks, or a profile of a GPU.
    """
    if profile.is_on_nvidia:
        raise UsageError(
            "the memory of a GPU is measured, and nothing learns it",
            remedy="measure each network: edgecost campaign memory MODELS, and read device_bytes",
        )
    samples, left_out = load_peaks(store, device_identity, profile)
    if not samples:
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UsageError(
            f"no peak memory was measured on this device and runtime{f' ({told})' if told else ''}",
            remedy="measure some: edgecost campaign memory --reference --space NAME",
        )
    known = _readable(samples, profile)
    shapes = [shape for _, shape in known]
    measured = np.array([sample.peak_bytes for sample, _ in known])
    overhead = round(statistics.median(sample.overhead_bytes for sample, _ in known)) if known else 0
    predictor = PeakMemoryPredictor(random_state=random_state).fit(shapes, measured, overhead)
    least = np.array([overhead + shape.live.total_bytes for shape in shapes], dtype=np.float64)
    sessions = [sample.sessions_bytes for sample, _ in known]
    judgement = judge(predictor.held_out_bytes_, measured, sessions, predictor.fold_, least, "analytic estimate alone")
    card = metric_card(
        MEMORY,
        HeldOut(
            hashes=[sample.workload.graph_hash for sample, _ in known],
            kinds=["network"] * len(known),
            measured=measured,
            predicted=predictor.held_out_bytes_,
            fold=predictor.fold_,
            spread=None,
            sessions=[len(one) for one in sessions],
        ),
        judgement,
        profile,
        model="memory-predictor",
        graphs=0,
        networks=len(known),
        left_out=left_out,
        seed=random_state,
        limits=[_limit(judgement), "It says nothing of a kernel alone: memory does not add up."],
    )
    return MemoryReport(predictor, len(known), judgement, left_out, card)


def _limit(judgement: Judgement) -> str:
    if judgement.baseline is None:
        return f"Nothing is known of the {judgement.baseline_name}."
    error = judgement.baseline.mape_percent
    return f"Without what was measured, the {judgement.baseline_name} is off by {error:.0f} % on average."


def load_peaks(
    store: Store, device_identity: str, profile: RuntimeProfile
) -> tuple[list[MemorySample], dict[str, int]]:
    """The peaks of a device and profile, grouped by graph; and the measurements left out, by reason.

    Peaks are of the process. Under a profile of a GPU it holds the driver's and the runtime's libraries, whatever the
    network: there are none of these.
    """
    made = store.measurements(
        device_identity=device_identity, profile_hash=profile.profile_hash, purposes=(PURPOSE,), of=None
    )
    usable, left_out = usable_by_graph(store, made, _reason_on_gpu if profile.is_on_nvidia else _reason)
    samples = [_combine(workload, of_one) for workload, of_one in usable]
    return samples, left_out


def _reason_on_gpu(_: Measurement) -> str:
    return "of the process alone, not of the GPU"


def _reason(measurement: Measurement) -> str:
    memory = measurement.peak_memory
    if memory is None:
        return "not measured"
    if memory.peak_bytes is None:
        return memory.status.value.replace("_", " ")
    if memory.process_method != METHOD:
        return f"measured by {memory.method}"
    return "" if memory.overhead_bytes is not None and memory.peak_bytes > memory.overhead_bytes else "no overhead"


def device_peaks(store: Store, device_identity: str, profile: RuntimeProfile) -> tuple[str, dict[str, int]]:
    """What graphs held of the GPU's memory, by hash, median over the sessions; and how that was measured.

    Where it was measured in several ways, those of the way of the newest: numbers of two ways are two quantities.
    """
    made = store.measurements(
        device_identity=device_identity, profile_hash=profile.profile_hash, purposes=(PURPOSE,), of=None
    )
    told = [(one.graph_hash, one.peak_memory) for one in made]
    known = [(graph, memory) for graph, memory in told if memory is not None and memory.device_bytes is not None]
    if not known:
        return "", {}
    method = known[-1][1].device_method
    by_graph: dict[str, list[int]] = {}
    for graph, memory in known:
        if memory.device_method == method and memory.device_bytes is not None:
            by_graph.setdefault(graph, []).append(memory.device_bytes)
    return method, {graph: round(statistics.median(sizes)) for graph, sizes in by_graph.items()}


def _combine(workload: Workload, measurements: list[Measurement]) -> MemorySample:
    readings = [measurement.peak_memory for measurement in measurements]
    peaks = tuple(one.peak_bytes for one in readings if one is not None and one.peak_bytes is not None)
    empty = [one.overhead_bytes for one in readings if one is not None and one.overhead_bytes is not None]
    return MemorySample(workload, statistics.median(peaks), statistics.median(empty), peaks)


def _readable(samples: list[MemorySample], profile: RuntimeProfile) -> list[tuple[MemorySample, MemoryShape]]:
    """Networks with their shape, without those that the runtime no longer opens."""
    found = []
    for sample in samples:
        with suppress(ModelError):
            # The skeleton says all that is needed; a file may have gone.
            found.append((sample, memory_shape(optimise(replace(sample.workload, path=""), profile))))
    return found
