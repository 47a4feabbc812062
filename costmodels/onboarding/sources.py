"""Known devices as sources: each with a predictor of its own, trained once and kept, over the architectures looked at.

A predictor is LightGBM at heart (``space_models.space_model``) and takes seconds; what it was trained on names its
folder in the cache, so that a second onboarding finds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError
from ...profiler.records import content_hash
from ..planned_campaign import Narrator
from ..space_models.encoding import Encoding
from ..space_models.fleet import Fleet, Source
from ..space_models.space_model import SpaceModel
from ..space_models.space_model_file import SCHEMA_VERSION, load_space_model, save_space_model
from .arch_space import Archs, ArchSpace
from .known import KnownDevice

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Networks of a source that its predictor is trained on; of more a seeded choice. 3 s of one core. On FBNet 400 instead
#: of 800 gave ρ 0.948 instead of 0.955 on a server CPU; on NAS-Bench-201 nothing is gained beyond 150.
ROWS_MAX = 800


@dataclass(frozen=True, eq=False)
class Pool:
    """The architectures that are looked at: those of the space's pool, and all that anybody measured.

    Attributes:
        archs: shape (architectures, places), distinct.
        offered: shape (offered,), rows that may be planned: the space's pool.
    """

    archs: Archs
    encoding: Encoding
    offered: Ints

    @classmethod
    def of(cls, space: ArchSpace, measured: Sequence[Archs]) -> Pool:
        """The space's pool first, then what was measured beside it."""
        place: dict[bytes, int] = {}
        for arch in np.concatenate([space.pool, *measured]):
            place.setdefault(arch.tobytes(), len(place))
        flat = np.frombuffer(b"".join(place), dtype=np.int16)
        archs = flat.reshape(len(place), space.pool.shape[1])
        return cls(archs, space.encode(archs), np.arange(len(space.pool)))

    def rows(self, archs: Archs) -> Ints:
        """Where these architectures stand. Raises KeyError for one that is not among them."""
        place = {arch.tobytes(): row for row, arch in enumerate(self.archs)}
        return np.array([place[np.ascontiguousarray(arch).tobytes()] for arch in archs], dtype=np.int64)


def train_sources(
    known: Sequence[KnownDevice], pool: Pool, narrator: Narrator, *, cache: Path | None, seed: int = 0
) -> tuple[Fleet, tuple[SpaceModel, ...]]:
    """A fleet of the known devices, and the predictor behind each of its surfaces.

    Degenerate networks train the predictor, which knows how to treat them, but are no samples of the source.

    Args:
        cache: folder of trained predictors; None keeps none.
        seed: which networks of a device with many are taken.

    Raises:
        UsageError: a device whose networks are all degenerate, or too few.
    """
    narrator.stage("training the predictors of known devices", len(known))
    place = {arch.tobytes(): row for row, arch in enumerate(pool.archs)}
    sources, models = [], []
    for device in known:
        rows = np.array([place[arch.tobytes()] for arch in np.ascontiguousarray(device.archs)], dtype=np.int64)
        chosen = _some(len(rows), seed)
        rows, latency_ms = rows[chosen], device.latency_ms[chosen]
        model, origin = _model(pool.encoding.take(rows), latency_ms, cache)
        kept = ~pool.encoding.degenerate[rows]
        surface_ms = np.maximum(model.predict(pool.encoding), 0.0)
        sources.append(Source(device.name, rows[kept], latency_ms[kept], surface_ms))
        models.append(model)
        narrator.step(f"{device.name}: {len(rows)} networks, {origin}")
    return Fleet(pool.encoding, tuple(sources)), tuple(models)


def _some(count: int, seed: int) -> Ints:
    if count <= ROWS_MAX:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, ROWS_MAX, replace=False))


def _model(encoding: Encoding, latency_ms: Floats, cache: Path | None) -> tuple[SpaceModel, str]:
    folder = None if cache is None else cache / _digest(encoding, latency_ms)
    if folder is not None:
        # A damaged or foreign file in the cache is no reason to stop: it is made again.
        with suppress(ArtefactError):
            return load_space_model(folder)[0], "from the cache"
    model = SpaceModel().fit(encoding, latency_ms)
    if folder is not None:
        save_space_model(model, folder)
    return model, "trained"


def _digest(encoding: Encoding, latency_ms: Floats) -> str:
    """Of everything that the predictor follows from: columns, numbers, and the version of what is made of them."""
    described = content_hash({"version": SCHEMA_VERSION, "columns": list(encoding.columns)})
    digest = hashlib.sha256(described.encode())
    for values in (encoding.matrix(), encoding.degenerate, latency_ms):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
