"""Which version of edgecost this is. Standard library only."""

from __future__ import annotations


def edgecost_version() -> str:
    """The installed version; ``unknown`` where nothing is installed."""
    # Two megabytes of e-mail parsing come with it, which a board that never asks goes without.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("edgecost")
    except PackageNotFoundError:
        return "unknown"
