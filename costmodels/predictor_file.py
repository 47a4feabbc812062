"""Predictors on disk: a folder with LightGBM's own texts and a JSON that holds the rest. Never a pickle.

``predictor.json`` carries the sha256 of ``booster.txt``, of ``spread.txt`` where there is one, and of its own content,
so that a changed byte is found before anything is predicted from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..profiler.errors import ArtefactError
from ..profiler.records import Json
from .composition import CORE_CACHE_BYTES, OLDER_CACHES, Composition
from .error_spread import Spread
from .features import FEATURES, WORK
from .files import write_atomically
from .metrics.metric import require_metric
from .predictor import LatencyPredictor
from .roofline import Roofline
from .sealed_file import read_sealed, read_text, sealed_text
from .trees.stored_trees import StoredTrees

FORMAT = "edgecost-predictor"
#: 1: first. 2: work counted by operator, three terms for networks. A change of ``FEATURES``, ``WORK`` or of what a
#: field means raises it; what was trained on other numbers is refused: it would price kernels by what they are not.
#: Within 2 the provenance came to tell of the metric, the environment and the protocol; what is not told counts as
#: latency, and is not compared. 3: how loops run, and how far off which kernel may be. A predictor prices by the
#: features and terms that it names, all of which must be known. 4: what the caches hold of a network's weights.
#: ``tests/golden`` has a file of each readable version.
SCHEMA_VERSION = 4
#: Versions that can be read.
_READABLE = range(2, SCHEMA_VERSION + 1)
#: What a predictor consists of.
FILES = ("predictor.json", "booster.txt")
#: Beside them where errors are told apart by kernel.
_SPREAD = "spread.txt"
_REMEDY = "train it again: edgecost train"


def save_predictor(predictor: LatencyPredictor, folder: Path, provenance: Mapping[str, Json]) -> None:
    """Write a fitted predictor; the JSON is written last, so a broken write is never taken for a predictor.

    Args:
        provenance: what it was trained on (device, profile, database, date, metrics), for people.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = predictor.booster_.model_to_string()
    spread = None if predictor.spread_.trees is None else predictor.spread_.trees.model_to_string()
    content: dict[str, Json] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "features": list(predictor.features_),
        "work": list(predictor.roofline_.terms),
        "parameters": dict(predictor.get_params()),
        "roofline_ms_per_unit": {kind: list(row) for kind, row in predictor.roofline_.to_json().items()},
        "ranges": {kind: bounds.tolist() for kind, bounds in predictor.ranges_.items()},
        "held_out_log_errors": predictor.scores_.tolist(),
        "measured_alone_ms": dict(predictor.known_ms_),
        "composition": None if predictor.composition_ is None else dict(asdict(predictor.composition_)),
        "core_cache_bytes": predictor.core_cache_bytes_,
        "network_log_errors": predictor.network_scores_.tolist(),
        "booster_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "spread_sha256": None if spread is None else hashlib.sha256(spread.encode()).hexdigest(),
        "provenance": dict(provenance),
    }
    described = sealed_text(content)
    write_atomically(folder / "booster.txt", text)
    if spread is not None:
        write_atomically(folder / _SPREAD, spread)
    write_atomically(folder / "predictor.json", described)
    if spread is None:
        (folder / _SPREAD).unlink(missing_ok=True)


def load_predictor(folder: Path, metric: str | None = None) -> tuple[LatencyPredictor, dict[str, Json]]:
    """Read a predictor and its provenance.

    Args:
        metric: what it has to predict, such as ``latency``; None takes whatever it predicts.

    Raises:
        ArtefactError: missing, truncated, changed, of another metric, or written with a schema that cannot be read.
    """
    if metric is not None:
        require_metric(folder, metric)
    content = _read_content(folder)
    text = read_text(folder / "booster.txt", _REMEDY)
    if hashlib.sha256(text.encode()).hexdigest() != content.get("booster_sha256"):
        raise ArtefactError(f"{folder / 'booster.txt'} was changed after it was written", remedy=_REMEDY)
    provenance = _provenance(content)
    try:
        return _predictor(content, StoredTrees(text), _read_spread(folder, content)), provenance
    except (KeyError, TypeError, ValueError) as error:
        path = folder / "predictor.json"
        raise ArtefactError(f"{path} lacks a field or has a wrong one: {error}", remedy=_REMEDY) from error


def read_provenance(folder: Path) -> dict[str, Json]:
    """What a predictor was trained on, without its trees.

    Raises:
        ArtefactError: as ``load_predictor``.
    """
    return _provenance(_read_content(folder))


def _predictor(content: dict[str, Json], booster: StoredTrees, spread: Spread) -> LatencyPredictor:
    predictor = LatencyPredictor().set_params(**_numbers(content["parameters"]))
    predictor.features_ = _names(content["features"])
    predictor.roofline_ = Roofline.from_json(_table(content["roofline_ms_per_unit"]), _names(content["work"]))
    predictor.kinds_ = predictor.roofline_.kinds
    predictor.ranges_ = {kind: np.array(rows, dtype=np.float64) for kind, rows in _table(content["ranges"]).items()}
    predictor.scores_ = np.array(content["held_out_log_errors"], dtype=np.float64)
    cache = content["core_cache_bytes"]
    predictor.core_cache_bytes_ = cache if isinstance(cache, int) else None
    predictor.composition_ = _composition(content["composition"], predictor.core_cache_bytes_)
    predictor.network_scores_ = np.array(content["network_log_errors"], dtype=np.float64)
    predictor.booster_, predictor.spread_ = booster, spread
    predictor.known_ms_ = {name: float(value) for name, value in _numbers(content.get("measured_alone_ms", {})).items()}
    return predictor


def _provenance(content: dict[str, Json]) -> dict[str, Json]:
    provenance = content.get("provenance")
    return provenance if isinstance(provenance, dict) else {}


def _read_content(folder: Path) -> dict[str, Json]:
    path = folder / "predictor.json"
    content = read_sealed(path, "a predictor", FORMAT, _READABLE, _REMEDY)
    for name, known in (("features", FEATURES), ("work", WORK)):
        named = content.get(name)
        if not isinstance(named, list) or not set(map(str, named)) <= set(known):
            raise ArtefactError(f"{path} was trained on other {name}", remedy=_REMEDY)
    return content


def _read_spread(folder: Path, content: dict[str, Json]) -> Spread:
    digest = content.get("spread_sha256")
    if digest is None:
        return Spread()
    text = read_text(folder / _SPREAD, _REMEDY)
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ArtefactError(f"{folder / _SPREAD} was changed after it was written", remedy=_REMEDY)
    return Spread(StoredTrees(text))


def _names(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.60} is no list of names")
    return tuple(str(name) for name in value)


def _composition(value: Json, core_cache_bytes: int | None) -> Composition | None:
    if not isinstance(value, dict):
        return None
    scale, costs, networks = (value.get(name) for name in ("scale", "ms_per_megabyte", "networks"))
    if not isinstance(scale, float) or not isinstance(costs, list) or not isinstance(networks, int):
        raise ArtefactError("the correction for whole networks is not one", remedy=_REMEDY)
    known = [float(cost) for cost in costs if isinstance(cost, int | float)]
    cached = value.get("cached_bytes")
    if isinstance(cached, float):
        convolutions, others, activations = known
        return Composition(scale, (convolutions, others, activations), networks, cached_bytes=cached)
    weights, activations = known
    older = OLDER_CACHES * (core_cache_bytes or CORE_CACHE_BYTES)
    return Composition(scale, (weights, weights, activations), networks, cached_bytes=older, is_capped=True)


def _table(value: Json) -> dict[str, list[Json]]:
    if not isinstance(value, dict):
        raise ArtefactError("a table of the predictor is missing", remedy=_REMEDY)
    return {kind: rows for kind, rows in value.items() if isinstance(rows, list)}


def _numbers(value: Json) -> dict[str, int | float]:
    if not isinstance(value, dict):
        raise ArtefactError("the parameters of the predictor are missing", remedy=_REMEDY)
    return {name: number for name, number in value.items() if isinstance(number, int | float)}
