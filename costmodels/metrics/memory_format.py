"""What tells a predictor of memory from others on disk, and what it says of its origin: readable without its trees."""

from __future__ import annotations

import json
from pathlib import Path

from ...profiler.records import Json
from ..sealed_file import read_sealed

FORMAT = "edgecost-memory-predictor"
#: 1: first. A change of ``peak_memory.FEATURES``, ``peak_memory.TERMS`` or of what a field means raises it.
SCHEMA_VERSION = 1
FILES = ("predictor.json", "booster.txt")
REMEDY = "train it again: edgecost train --metric memory"


def is_of_memory(folder: Path) -> bool:
    """Whether a folder holds a predictor of memory, sound or not."""
    try:
        content = json.loads((folder / FILES[0]).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def read_content(folder: Path) -> dict[str, Json]:
    """All of it but the trees.

    Raises:
        ArtefactError: missing, truncated, changed, or written with a schema that is not known.
    """
    return read_sealed(folder / FILES[0], "a predictor of memory", FORMAT, range(1, SCHEMA_VERSION + 1), REMEDY)


def read_provenance(folder: Path) -> dict[str, Json]:
    """What a predictor was trained on; raises what ``read_content`` raises."""
    provenance = read_content(folder).get("provenance")
    return provenance if isinstance(provenance, dict) else {}
