"""Train the predictors of many (device, profile) pairs: each is kept as it is done, and a failure stops no other.

The database is read here, and folders are written here: workers see samples, and know neither. What is large (one pair
has more kernels than one machine trains) is trained in part, as alone (decision 0018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from ..db import Store
from ..profiler.errors import ArtefactError, GateError, ModelError, OutputError, RunnerError, UsageError
from ..profiler.records import Device, Json, RuntimeProfile
from .active.what_next import Surveys
from .compute.pool import Pool
from .dataset import BLOCK_PURPOSES
from .fitting import Fitted, Measured, fit_measured, read_measured
from .predictor import GRAPHS_MIN
from .predictor_file import read_provenance
from .training import TrainingReport, pair_provenance, report_of, save_report

#: trained now; trained before on the same measurements; too few measurements; failed.
Outcome = Literal["trained", "unchanged", "too few", "failed"]
#: What is wrong with one pair, and not with the store or the workers.
_OF_ONE_PAIR = (UsageError, ModelError, RunnerError, GateError, ArtefactError, OutputError)
#: Under which name the provenance of a predictor keeps ``Measured.digest``.
_TRAINED_ON = "trained_on_sha256"


@dataclass(frozen=True)
class Pair:
    """A device and a profile that blocks were measured with."""

    device: Device
    profile: RuntimeProfile


@dataclass(frozen=True)
class PairResult:
    """What became of a pair.

    Attributes:
        folder: of the predictor; what lies there is of before unless it was trained.
        why: of a failure or of too few; empty otherwise.
        graphs: measured blocks.
        report: None unless it was trained now.
    """

    pair: Pair
    folder: Path
    outcome: Outcome
    why: str
    graphs: int
    report: TrainingReport | None


def measured_pairs(store: Store) -> list[Pair]:
    """The pairs that have measured blocks, by name of the device and label of the profile."""
    devices = {device.identity: device for device in store.devices()}
    found = []
    for identity, profile_hash in store.measured_pairs(BLOCK_PURPOSES):
        profile = store.profile(profile_hash)
        assert profile is not None, "a measurement refers to a stored profile"
        found.append(Pair(devices[identity], profile))
    return sorted(found, key=lambda pair: (pair.device.name, pair.profile.label, pair.device.identity))


@dataclass(frozen=True)
class FitRecipe:
    """Work on ``Measured``: what is wrong with one pair is its result, and stops no other."""

    def __call__(self) -> Callable[[Measured], Fitted | str]:
        return _fit


def _fit(measured: Measured) -> Fitted | str:
    try:
        return fit_measured(measured)
    except _OF_ONE_PAIR as error:
        return error.message


@dataclass(frozen=True)
class Plan:
    """How pairs are trained.

    Attributes:
        folder_of: where the predictor of a pair lies; another for each.
        core_cache_of: second-level cache of a device; None where it is not known.
        again: train what did not change, too.
    """

    folder_of: Callable[[Pair], Path]
    core_cache_of: Callable[[Pair], int | None] = lambda pair: None
    random_state: int = 0
    again: bool = False


def train_all(
    store: Store,
    pairs: Sequence[Pair],
    plan: Plan,
    pool: Pool,
    done: Callable[[PairResult], None] = lambda result: None,
) -> list[PairResult]:
    """Train every pair whose measurements changed since its predictor was trained, and save it when it is done.

    Args:
        done: called as pairs are done, in whatever order.

    Returns:
        One result for each pair, in their order.

    Raises:
        StoreError: the database cannot be read.
        ClusterError: workers were lost; what was trained before is kept.
    """
    run = _Run(store, pairs, plan, done)
    for place, fitted in pool.map(FitRecipe(), run.wanted()):
        run.finish(place, fitted)
    return [run.found[number] for number in range(len(pairs))]


class _Run:
    """One call of ``train_all``.

    Attributes:
        found: results by the number of their pair.
    """

    def __init__(self, store: Store, pairs: Sequence[Pair], plan: Plan, done: Callable[[PairResult], None]) -> None:
        self.found: dict[int, PairResult] = {}
        self._store, self._pairs, self._plan, self._done = store, pairs, plan, done
        self._surveys = Surveys()
        #: By their place among those that were sent: the number of the pair, and what was sent.
        self._sent: dict[int, tuple[int, Measured]] = {}

    def wanted(self) -> Iterator[Measured]:
        """What is to be fitted; the others are settled on the way."""
        places = count()
        for number, pair in enumerate(self._pairs):
            measured = read_measured(
                self._store,
                pair.device.identity,
                pair.profile,
                random_state=self._plan.random_state,
                core_cache_bytes=self._plan.core_cache_of(pair),
            )
            graphs = len(measured.blocks)
            if graphs < GRAPHS_MIN:
                self._settle(number, "too few", f"{graphs} usable graphs; {GRAPHS_MIN} are the least", graphs)
            elif not self._plan.again and _trained_on(self._plan.folder_of(pair)) == measured.digest:
                self._settle(number, "unchanged", "", graphs)
            else:
                self._sent[next(places)] = number, measured
                yield measured

    def finish(self, place: int, fitted: Fitted | str) -> None:
        """Judge and save what was fitted, or say why nothing was."""
        number, measured = self._sent.pop(place)
        graphs = len(measured.blocks)
        if isinstance(fitted, str):
            self._settle(number, "failed", fitted, graphs)
            return
        pair = self._pairs[number]
        try:
            report = report_of(self._store, pair.device.identity, measured, fitted, surveys=self._surveys)
            origin: dict[str, Json] = {
                **pair_provenance(pair.device, pair.profile),
                "database": self._store.url,
                _TRAINED_ON: measured.digest,
            }
            save_report(report, self._plan.folder_of(pair), origin)
        except _OF_ONE_PAIR as error:
            self._settle(number, "failed", error.message, graphs)
            return
        self._settle(number, "trained", "", graphs, report)

    def _settle(
        self, number: int, outcome: Outcome, why: str, graphs: int, report: TrainingReport | None = None
    ) -> None:
        pair = self._pairs[number]
        self.found[number] = PairResult(pair, self._plan.folder_of(pair), outcome, why, graphs, report)
        self._done(self.found[number])


def _trained_on(folder: Path) -> Json:
    """The digest of what a predictor was trained on; None where there is none that could be used."""
    try:
        return read_provenance(folder).get(_TRAINED_ON)
    except ArtefactError:
        return None
