"""Environment variables that a runtime's process is started with: options ``env.NAME`` of a runtime, of a closed list.

A library reads them when it is loaded, so that they cannot be set later. Others are refused: a profile may come from
another machine, and some variables make a process load code. Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from .errors import UsageError

PREFIX = "env."
#: Whose kernels numpy's OpenBLAS takes: numpy 1.19.5 takes those of another CPU on a Cortex-A57, and dies of it.
KNOWN = ("OPENBLAS_CORETYPE",)
_VALUE = re.compile(r"[A-Za-z0-9_]+")

Options = Iterable[tuple[str, str]]


def variables_of(options: Options) -> dict[str, str]:
    """Names and values of the variables among a runtime's options.

    Raises:
        UsageError: one that is not known, or a value that is none.
    """
    found = {name.removeprefix(PREFIX): value for name, value in options if name.startswith(PREFIX)}
    for name, value in found.items():
        if name not in KNOWN:
            raise UsageError(
                f"the environment variable {name} is not among those that a runtime may set",
                remedy=f"it may set {', '.join(KNOWN)}; whatever else is needed, set where edgecost is started",
            )
        if _VALUE.fullmatch(value) is None:
            raise UsageError(f"{name}={value} is no such value", remedy="letters, digits and underscores: ARMV8")
    return found


def without_variables(options: Options) -> dict[str, str]:
    """The options that are the runtime's own, in their order."""
    return {name: value for name, value in options if not name.startswith(PREFIX)}


def variables_here(options: Options) -> dict[str, str]:
    """What the process will have of the known ones: as the options say, else as this process has them.

    Raises:
        UsageError: as ``variables_of``.
    """
    inherited = {name: os.environ[name] for name in KNOWN if name in os.environ}
    return {**inherited, **variables_of(options)}
