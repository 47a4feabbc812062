"""What long benchmarks keep between runs, and when it no longer counts: results of other code are not used again."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import edgecost

_HERE = Path(__file__).parent


@functools.lru_cache(maxsize=1)
def fingerprint() -> str:
    """Of every file that a published figure comes from: models of spaces, what they stand on, and the benchmarks."""
    models = Path(str(edgecost.__file__)).parent / "costmodels"
    files = [*models.glob("space_models/*.py"), *(_HERE / f"{name}.py" for name in ("few_shot_tasks", "few_shot"))]
    files.append(_HERE / "space_accuracy.py")
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def kept(folder: Path | None, name: str) -> dict[str, object] | None:
    """The result of this name; None where there is none, or it was cut off."""
    file = None if folder is None else folder / f"{name}.json"
    if file is None or not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def keep(folder: Path | None, name: str, result: Mapping[str, object]) -> None:
    """Write a result whole or not at all; nothing without a folder."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.json"
    draft.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    draft.replace(folder / f"{name}.json")
