"""The side file of a table of operators: what the table has no room for, in JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...profiler.records import Json
from ..arch_formats.costs import About
from ..files import write_atomically
from ..lut_formats.card import Metric
from ..lut_formats.side import side_path

SIDE_FORMAT = "edgecost-op-side"
SIDE_VERSION = 1


def side_text(
    format_name: str,
    hashes: Mapping[str, str],
    number: tuple[Metric, str],
    about: About,
    rows: Json,
    more: Mapping[str, Json],
) -> str:
    """The content.

    Args:
        hashes: sha256 of each file that is written, by its name below the folder.
        number: metric and unit of the numbers in the files.
        rows: each number's operator and source.
        more: what the format says beside.
    """
    document: dict[str, Json] = {
        "format": SIDE_FORMAT,
        "schema_version": SIDE_VERSION,
        "written_for": format_name,
        "sha256": dict(hashes),
        "metric": number[0],
        "unit": number[1],
        "device": about.device,
        "device_description": about.device_description,
        "runtime": about.provenance.get("profile"),
        "precision": about.precision,
        "created": about.created,
        "numbers_from": about.source,
        "not_counted": about.correction,
        **more,
        "provenance": dict(about.provenance),
        "rows": rows,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_files(folder: Path, files: Mapping[str, bytes], side: str) -> list[Path]:
    """Write what was made below a folder, the side file last; returns all of it."""
    written = [write_atomically(folder / name, content) for name, content in files.items()]
    return [*written, write_atomically(side_path(folder / next(iter(files))), side)]
