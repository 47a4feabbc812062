"""An onboarded device on disk: one sealed JSON with the portable model, a folder for each source it leans on.

Nothing is a pickle, and nothing has to be fitted again: a later version prices what this one wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, UsageError
from ...profiler.records import Json
from ..files import write_atomically
from ..sealed_file import read_sealed, read_text, sealed_text
from ..space_models.space_model import SpaceModel
from ..space_models.space_model_file import NAME as SOURCE_FILE
from ..space_models.space_model_file import load_space_model, save_space_model
from .arch_space import Archs, ArchSpace, open_arch_space
from .portable import Columns, PortableModel

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FORMAT = "edgecost-onboarded-device"
#: 1: first.
SCHEMA_VERSION = 1
NAME = "onboarded.json"
_REMEDY = "onboard the device again: edgecost onboard --space NAME"


@dataclass(frozen=True)
class SpaceId:
    """What opens a space again: a name or the path of a TOML file, and its size."""

    name: str
    resolution: int | None
    width: float | None

    def open(self, *, pool: int = 1, seed: int = 0) -> ArchSpace:
        """The space; few architectures stand in its pool, because nothing is planned from a kept model."""
        return open_arch_space(self.name, resolution=self.resolution, width=self.width, pool=pool, seed=seed)


@dataclass(frozen=True, eq=False)
class Prices:
    """Latencies of architectures, milliseconds, shape (architectures,).

    Attributes:
        latency_ms, lo_ms, hi_ms: NaN where ``degenerate``: a network that hands nothing of its input on costs on one
            runtime nothing and on another as much as any.
        degenerate: mask of these.
    """

    latency_ms: Floats
    lo_ms: Floats
    hi_ms: Floats
    degenerate: Bools


@dataclass(frozen=True, eq=False)
class OnboardedDevice:
    """A device that was learnt from few networks of one space: prices any other network of it.

    Attributes:
        models: the predictors of the sources, in the order of ``portable.columns.sources``.
        provenance: device, profile, samples, date and what the model is worth, for people.
    """

    space_id: SpaceId
    portable: PortableModel
    models: tuple[SpaceModel, ...]
    provenance: Mapping[str, Json]

    def price(self, archs: Archs, *, alpha: float = 0.1, space: ArchSpace | None = None) -> Prices:
        """Price a population at once.

        Args:
            archs: shape (architectures, places), as ``ArchSpace.pool``.
            alpha: share of networks that may fall outside their interval.
            space: where it is open already.

        Raises:
            UsageError: what is no architecture of the space, or an alpha that does not lie between 0 and 1.
        """
        opened = space or self.space_id.open()
        encoding = opened.encode(opened.canonical(archs))
        surfaces = [np.maximum(model.predict(encoding), 0.0) for model in self.models]
        surfaces_ms = np.array(surfaces, dtype=np.float64).reshape(len(self.models), encoding.size).T
        guess, deviation = self.portable.predict_ms(encoding, surfaces_ms)
        reach = self.portable.deviations(alpha) * deviation
        odd = encoding.degenerate
        low, high = np.maximum(guess - reach, 0.0), guess + reach
        latency, low, high = (np.where(odd, np.nan, values) for values in (guess, low, high))
        return Prices(latency, low, high, odd)


def save_onboarded(device: OnboardedDevice, folder: Path) -> None:
    """Write the device; the JSON that makes it one is written last.

    Raises:
        OutputError: the folder cannot be written.
    """
    model, columns = device.portable, device.portable.columns
    places = [f"sources/{place}" for place in range(len(device.models))]
    for place, source in zip(places, device.models, strict=True):
        save_space_model(source, folder / place)
    upper = np.triu_indices(columns.size)
    content: dict[str, Json] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "space": {
            "name": device.space_id.name,
            "resolution": device.space_id.resolution,
            "width": device.space_id.width,
        },
        "columns": list(columns.names),
        "centres": columns.centres.tolist(),
        # JSON has no infinity; a column that does not vary has none of it to be divided by.
        "spreads": [spread if np.isfinite(spread) else None for spread in columns.spreads.tolist()],
        "sources": [
            {
                "name": name,
                "median_ms": median,
                "folder": place,
                "sha256": _sha256(read_text(folder / place / SOURCE_FILE, "")),
            }
            for name, median, place in zip(columns.sources, columns.medians_ms.tolist(), places, strict=True)
        ],
        "mean_ms": model.mean_ms.tolist(),
        "variance_ms2_upper": model.variance_ms2[upper].tolist(),
        "stack_ms": model.stack_ms.tolist(),
        "stack_weight": model.stack_weight,
        "stack_deviation": model.stack_deviation,
        "floor_ms": model.floor_ms,
        "measured_ms": model.measured_ms.tolist(),
        "loo_ms": model.loo_ms.tolist(),
        "loo_deviation_ms": model.loo_deviation_ms.tolist(),
        "provenance": dict(device.provenance),
    }
    write_atomically(folder / NAME, sealed_text(content))


def load_onboarded(folder: Path) -> OnboardedDevice:
    """Read a device.

    Raises:
        ArtefactError: missing, truncated, changed, or written with a newer schema; or its space is not there any more.
    """
    path = folder / NAME
    content = read_sealed(path, "an onboarded device", FORMAT, range(1, SCHEMA_VERSION + 1), _REMEDY)
    try:
        return _device(content, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} lacks a field or has a wrong one: {error}", remedy=_REMEDY) from error


def _device(content: Mapping[str, Json], folder: Path) -> OnboardedDevice:
    sources = [_object(entry) for entry in _list(content["sources"])]
    spreads = [np.inf if spread is None else _float(spread) for spread in _list(content["spreads"])]
    columns = Columns(
        names=tuple(str(name) for name in _list(content["columns"])),
        centres=_floats(content["centres"]),
        spreads=np.array(spreads, dtype=np.float64),
        sources=tuple(str(source["name"]) for source in sources),
        medians_ms=_floats([source["median_ms"] for source in sources]),
    )
    variance = np.zeros((columns.size, columns.size))
    variance[np.triu_indices(columns.size)] = _floats(content["variance_ms2_upper"])
    model = PortableModel(
        columns=columns,
        mean_ms=_floats(content["mean_ms"]),
        variance_ms2=variance + np.triu(variance, 1).T,
        stack_ms=_floats(content["stack_ms"]),
        stack_weight=_float(content["stack_weight"]),
        stack_deviation=_float(content["stack_deviation"]),
        floor_ms=_float(content["floor_ms"]),
        measured_ms=_floats(content["measured_ms"]),
        loo_ms=_floats(content["loo_ms"]),
        loo_deviation_ms=_floats(content["loo_deviation_ms"]),
    )
    space = _object(content["space"])
    resolution, width = space["resolution"], space["width"]
    space_id = SpaceId(
        str(space["name"]),
        resolution if isinstance(resolution, int) else None,
        None if width is None else _float(width),
    )
    models = tuple(_source(folder, place, source) for place, source in enumerate(sources))
    return OnboardedDevice(space_id, model, models, _object(content["provenance"]))


def _source(folder: Path, place: int, source: Mapping[str, Json]) -> SpaceModel:
    # The place, not what the file says: nothing outside the folder is read.
    path = folder / "sources" / str(place)
    if _sha256(read_text(path / SOURCE_FILE, _REMEDY)) != source["sha256"]:
        raise ArtefactError(f"{path} is not the source that {folder / NAME} was fitted with", remedy=_REMEDY)
    return load_space_model(path)[0]


def open_space_of(device: OnboardedDevice, folder: Path, *, pool: int, seed: int) -> ArchSpace:
    """The device's space with a pool.

    Raises:
        ArtefactError: it is a TOML file that is gone or describes other networks by now.
    """
    try:
        space = device.space_id.open(pool=pool, seed=seed)
        names = set(space.encode(space.pool[:1]).columns)
    except UsageError as error:
        raise ArtefactError(f"the space of {folder} cannot be opened: {error.message}", remedy=error.remedy) from error
    if not set(device.portable.columns.names) <= names:
        raise ArtefactError(
            f"{device.space_id.name} is no longer the space that {folder} was fitted on", remedy=_REMEDY
        )
    return space


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _floats(value: Json) -> Floats:
    return np.array([_float(item) for item in _list(value)], dtype=np.float64)


def _float(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)
