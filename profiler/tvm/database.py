"""The folder of tuning records: TVM's two JSON-lines files, opened so that a torn line loses no more than itself.

TVM appends a line per record and closes the file, so that a killed process loses what it had not measured yet. When the
power goes, the last line may be torn; TVM would then refuse the whole file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tvm.s_tir import meta_schedule as ms

_WORKLOADS = "database_workload.json"
_RECORDS = "database_tuning_record.json"
#: How many trials each task was given, by the hash of its workload: a small search space ends before they are used up.
_TRIALS = "edgecost_trials.json"


def open_database(folder: Path) -> ms.database.JSONDatabase:
    """Open the records in a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    count = _keep_whole_lines(folder / _WORKLOADS, None)
    _keep_whole_lines(folder / _RECORDS, count)
    return ms.database.JSONDatabase(
        path_workload=str(folder / _WORKLOADS), path_tuning_record=str(folder / _RECORDS), module_equality="structural"
    )


def _keep_whole_lines(path: Path, workloads: int | None) -> int:
    """Drop lines that are no JSON, and records of a workload that is not there; returns how many lines remain.

    A workload is known by the number of its line: of that file only the end may go.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept: list[bytes] = []
    for line in lines:
        if line.endswith(b"\n") and _is_whole(line, workloads):
            kept.append(line)
        elif workloads is None:
            break
    if len(kept) < len(lines):
        _replace(path, b"".join(kept))
    return len(kept)


def _is_whole(line: bytes, workloads: int | None) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return workloads is None or (isinstance(document, list) and int(document[0]) < workloads)


def read_trials(folder: Path) -> dict[str, int]:
    """Trials given so far, by workload; empty where nothing is noted."""
    try:
        noted = json.loads((folder / _TRIALS).read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): int(count) for name, count in noted.items()}


def note_trials(folder: Path, workload: str, count: int) -> None:
    """Note that a task was given ``count`` trials in all."""
    noted = read_trials(folder) | {workload: count}
    _replace(folder / _TRIALS, json.dumps(noted, sort_keys=True).encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)
