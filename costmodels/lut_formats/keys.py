"""The keys of cells that Once-for-All and ProxylessNAS share, and the YAML that both read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ...profiler.errors import MissingPackage
from ..spaces.cell import Cell
from ..spaces.kinds import Shape

#: What a reader finds under one key: a number, a row, or a row for each block.
UnderKey: TypeAlias = float | Mapping[str, float | int] | Sequence[Mapping[str, float]]


def sizes(cell: Cell) -> str:
    """``input:<HxWxC>-output:<HxWxC>``."""
    return f"input:{_joined(cell.input_shape)}-output:{_joined(cell.output_shape)}"


def ratio_key(cell: Cell) -> str:
    """Of an inverted residual as ProxylessNAS writes it: ``expand`` is the ratio, not the number of channels."""
    spec = cell.spec
    skip = int(spec.adds(cell.input_shape))
    return f"expanded_conv-{sizes(cell)}-expand:{spec.expand:g}-kernel:{spec.kernel}-stride:{spec.stride}-idskip:{skip}"


def yaml_text(rows: Mapping[str, UnderKey], name: str) -> str:
    """Plain Python numbers through ``safe_dump``, which writes 1.0e-07: YAML 1.1 readers take 1e-07 for a string.

    Raises:
        MissingPackage: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage(f"PyYAML is needed for the format '{name}'", remedy="pip install pyyaml") from error
    text: str = yaml.safe_dump(rows, sort_keys=False, default_flow_style=False, width=1000)
    return text


def _joined(shape: Shape) -> str:
    """Height, width and channels joined by x; a vector is only its length."""
    return "x".join(str(size) for size in (*shape[2:], shape[1]))
