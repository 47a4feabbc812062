"""The file that says which networks, in which order: one architecture per line, or an array. Pickles are never read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...profiler.errors import UsageError
from .networks import Given

_FORMS = ".txt (one architecture per line), .jsonl (one in JSON per line), .npy (integers, one row each)"


def read_order(path: Path) -> list[Given]:
    """The architectures of a file, not yet checked against a space.

    A line of a ``.txt`` file may be JSON too; empty lines and those that begin with # say nothing.

    Raises:
        UsageError: another ending, unreadable, or no line at all.
    """
    if path.suffix not in (".txt", ".jsonl", ".npy"):
        raise UsageError(
            f"{path.name} is no list of architectures that is read here",
            remedy=f"write it as {_FORMS}; a pickle or torch file can run code and is never opened",
        )
    try:
        given = _array(path) if path.suffix == ".npy" else _lines(path)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy=f"write it as {_FORMS}") from error
    if not given:
        raise UsageError(f"{path} names no architecture", remedy=f"write it as {_FORMS}")
    return given


def _array(path: Path) -> list[Given]:
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"shape {array.shape} of {array.dtype} is not integers (architectures, places)")
    rows: list[Given] = list(array.tolist())
    return rows


def _lines(path: Path) -> list[Given]:
    given: list[Given] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        given.append(_parsed(text, number) if path.suffix == ".jsonl" or text[0] in "[{" else text)
    return given


def _parsed(text: str, number: int) -> Given:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"line {number} is not JSON: {error}") from error
    if isinstance(found, bool) or not isinstance(found, (str, list, dict, int)):
        raise ValueError(f"line {number} is neither text nor a list nor a dictionary")
    return str(found) if isinstance(found, int) else found
