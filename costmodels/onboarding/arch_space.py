"""A space whose networks are measured whole: architectures as rows of integers, their columns, their graphs.

Two kinds stand behind it: chains from ``spaces/*.toml`` and the cells of NAS-Bench-201. What a LUT needs (cells of its
own, sums) is in ``space.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...profiler.errors import UsageError
from ..space_models.encoding import Encoding

if TYPE_CHECKING:
    from ...profiler.workload import Workload

#: Architectures: int16 (architectures, places), the choice at each place, -1 where a place is not active.
Archs: TypeAlias = NDArray[np.int16]

#: Candidates of a space that is too large to look at as a whole. A D-optimal plan looks at 2,000 of them.
POOL = 3000


class ArchSpace(Protocol):
    """Architectures that can be encoded, built and named.

    Attributes:
        name: unique, with whatever else changes the networks: ``fbnet-224-w1``.
        prefix: what the names of its workloads begin with, before the architecture.
        op_names: what may stand at a place, in the order of published tables; for the check of such tables.
        pool: distinct, canonical architectures to choose samples from, the same for the same seed; the whole space
            where it is small enough.
        order: all architectures as published tables number them; None where nobody does.
    """

    @property
    def name(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    @property
    def op_names(self) -> tuple[str, ...]: ...

    @property
    def pool(self) -> Archs: ...

    @property
    def order(self) -> Archs | None: ...

    def canonical(self, archs: Archs) -> Archs:
        """The architectures whose networks these are, once what does not reach the output is left out."""

    def encode(self, archs: Archs) -> Encoding:
        """Feature columns. Raises UsageError for what is no architecture of the space."""

    def build(self, arch: Archs) -> Workload:
        """The network of one row. Raises UsageError for one that is none, or that computes nothing of its input."""

    def parse(self, text: str) -> Archs:
        """One row, from the form of ``arch_text`` or one that the space's own code writes. Raises UsageError."""


def arch_text(arch: Archs) -> str:
    """A row as ``3.0.1._``, as it stands in the names of workloads."""
    return ".".join("_" if choice < 0 else str(choice) for choice in arch.tolist())


def read_arch_text(text: str, places: int) -> Archs | None:
    """What ``arch_text`` wrote; None where the text has another form."""
    parts = text.split(".")
    if len(parts) != places or not all(part == "_" or (part.isascii() and part.isdigit()) for part in parts):
        return None
    choices = [-1 if part == "_" else int(part) for part in parts]
    return np.array(choices, dtype=np.int16) if max(choices) < 2**15 else None


def open_arch_space(
    name: str, *, resolution: int | None = None, width: float | None = None, pool: int = POOL, seed: int = 0
) -> ArchSpace:
    """A space by name, or by the path of a TOML file.

    Args:
        pool: architectures to choose samples from, where the space is larger.

    Raises:
        UsageError: there is no such space, resolution or width.
    """
    from ..space_file import load_space, space_names
    from .cell_space import NAME, NasBench201
    from .chain_space import ChainSpace

    if name != NAME:
        if name not in space_names() and not name.endswith(".toml"):
            raise UsageError(
                f"there is no search space {name!r}",
                remedy=f"built in: {', '.join(space_names())}; your own: the path of a .toml file",
            )
        space = load_space(name, resolution=resolution, width=width)
        space.require_chain("few-shot transfer")
        return ChainSpace(space, space.sample(min(pool, space.size), seed))
    if resolution not in (None, 32) or width not in (None, 1.0):
        raise UsageError(f"{NAME} has one size, 32 px and width 1", remedy="leave out --resolution and --width")
    return NasBench201()
