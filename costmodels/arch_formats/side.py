"""The side file of a list of networks: what the list has no room for, in JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...profiler.records import Json
from ..files import write_atomically
from ..lut_formats.side import side_path
from .costs import About, Costs, Floats
from .networks import Networks

SIDE_FORMAT = "edgecost-arch-side"
SIDE_VERSION = 1


def write_side(
    folder: Path,
    format_name: str,
    hashes: Mapping[str, str],
    networks: Networks,
    costs: Sequence[Costs],
    about: About,
) -> Path:
    """Write ``<first file>.edgecost.json``.

    Args:
        hashes: sha256 of each file that was written, by its name below ``folder``.
        costs: in the units of the files.
    """
    document: dict[str, Json] = {
        "format": SIDE_FORMAT,
        "schema_version": SIDE_VERSION,
        "written_for": format_name,
        "sha256": dict(hashes),
        "space": networks.space,
        "resolutions": [*sorted(set(networks.resolutions))],
        "networks": len(networks),
        "networks_from": networks.origin,
        "networks_sha256": networks.sha256,
        "device": about.device,
        "device_description": about.device_description,
        "precision": about.precision,
        "batch": about.batch,
        "created": about.created,
        "numbers_from": about.source,
        "correction": about.correction,
        "metrics": [_metric(one) for one in costs],
        "provenance": dict(about.provenance),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(side_path(folder / next(iter(hashes))), text + "\n")


def _metric(costs: Costs) -> Json:
    return {
        "metric": costs.metric,
        "unit": costs.unit,
        "unknown": int(np.isnan(costs.values).sum()),
        "stand_ins": costs.filled,
        "lo": _bounds(costs.lo),
        "hi": _bounds(costs.hi),
    }


def _bounds(values: Floats | None) -> Json:
    return None if values is None else [None if np.isnan(value) else float(value) for value in values]
