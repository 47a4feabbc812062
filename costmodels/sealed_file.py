"""JSON that says whether it is still what was written: models on disk are trusted only byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..profiler.errors import ArtefactError
from ..profiler.records import Json, content_hash


def sealed_text(content: Mapping[str, Json]) -> str:
    """The content with its own sha256, as it is written."""
    return _text({**content, "content_sha256": content_hash(dict(content))})


def read_sealed(path: Path, kind: str, written_as: str, versions: range, remedy: str) -> dict[str, Json]:
    """What ``sealed_text`` wrote.

    Args:
        kind: what the file should be, for people.
        written_as: its ``format``.
        versions: the values of ``schema_version`` that can be read.

    Raises:
        ArtefactError: missing, truncated, changed, of another format, or of a version that cannot be read.
    """
    text = read_text(path, remedy)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} is not complete JSON: {error}", remedy=remedy) from error
    if not isinstance(content, dict) or content.get("format") != written_as:
        raise ArtefactError(f"{path} is not {kind} of edgecost", remedy=remedy)
    version = content.get("schema_version")
    if type(version) is not int or version not in versions:
        raise ArtefactError(
            f"{path} has schema version {version!r}; this edgecost reads {', '.join(map(str, versions))}",
            remedy=f"upgrade edgecost, or {remedy}",
        )
    if not _is_as_written(content, text):
        raise ArtefactError(f"{path} was changed after it was written", remedy=remedy)
    return content


def read_text(path: Path, remedy: str) -> str:
    """A file of a model, as UTF-8.

    Raises:
        ArtefactError: it is not there, or cannot be read.
    """
    try:
        # As bytes: reading as text would take a changed line ending for the old one.
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} is not there", remedy=remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}", remedy=remedy) from error


def _is_as_written(content: dict[str, Json], text: str) -> bool:
    """Every byte: the hash covers the content, and writing it again covers blanks, order and doubled keys."""
    hashed = {name: value for name, value in content.items() if name != "content_sha256"}
    try:
        return content.get("content_sha256") == content_hash(hashed) and _text(content) == text
    except ValueError:  # 1e999 is JSON, and infinite
        return False


def _text(content: Mapping[str, Json]) -> str:
    return json.dumps(content, indent=1, allow_nan=False)
