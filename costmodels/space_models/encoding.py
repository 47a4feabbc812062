"""Architectures → groups of feature columns: what a model of a search space may know of a network, and nothing else.

Nothing here knows a device or a measurement. Two families of spaces: cells (a small graph with an operator on each
edge, as NAS-Bench-201: Dong & Yang, ICLR 2020) and chains (one block out of a list in each layer, as FBNet: Wu et al.,
CVPR 2019). Columns of one ``Block`` mean the same kind of thing, so that a Bayesian model may give them one variance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .cell_graph import additions, carrying, checked_edges, filled, longest, reaching, ways

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: FBNet's candidates as the published table orders them: kernel size, expansion, groups of the pointwise convolutions.
FBNET_OPS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
_CANDIDATE = re.compile(r"k(\d+)_e(\d+)(?:_g(\d+))?")
#: Weights an operator may have on the critical path, by the largest number of operators that cost something: 37 columns
#: for three operators, at most 63 for more; beyond that only the number of steps.
_LEVELS = ((3, (0, 1, 2, 4)), (6, (0, 1)))
#: More ways from input to output than this and a block with columns for each of them stops being features.
_PATHS_MAX = 32


@dataclass(frozen=True, eq=False)
class Block:
    """One group of feature columns that share a prior variance.

    Attributes:
        name: ``counts``, ``physical``, ``one_hot``; of cells also ``live``, ``critical_path`` and ``paths``; of chains
            also ``stage``.
        columns: one name per column, unique within the block.
        values: shape (architectures, columns).
    """

    name: str
    columns: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, eq=False)
class Encoding:
    """Architectures of one space, as blocks of columns.

    Attributes:
        degenerate: shape (architectures,): networks that no plan and no test should hold, because nothing of their
            input reaches the output.
    """

    blocks: tuple[Block, ...]
    degenerate: Bools

    @property
    def size(self) -> int:
        """Number of architectures."""
        return len(self.degenerate)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the blocks."""
        return tuple(block.name for block in self.blocks)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns as ``block.column``: two encodings of one space have equal ones."""
        return tuple(f"{block.name}.{column}" for block in self.blocks for column in block.columns)

    def take(self, rows: npt.ArrayLike) -> Encoding:
        """The architectures at these places (integers), or where the mask is true."""
        chosen = np.asarray(rows)
        blocks = tuple(Block(block.name, block.columns, block.values[chosen]) for block in self.blocks)
        return Encoding(blocks, self.degenerate[chosen])

    def block(self, name: str) -> Block:
        """The block of this name; raises UsageError where there is none."""
        for block in self.blocks:
            if block.name == name:
                return block
        raise UsageError(f"this encoding has no block {name!r}", remedy=f"It has {', '.join(self.names)}.")

    def matrix(self, *names: str) -> Floats:
        """The columns of these blocks side by side, in the order asked for; of all blocks where no name is given."""
        chosen = [self.block(name).values for name in names or self.names]
        return np.hstack(chosen) if chosen else np.zeros((self.size, 0))


def encode_cells(
    ops: npt.ArrayLike,
    edges: npt.ArrayLike,
    none_op: int = 0,
    skip_op: int = 1,
    *,
    op_names: Sequence[str] = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    weights: Mapping[str, Sequence[float]] | None = None,
) -> Encoding:
    """Encode cells: node 0 is the input, the highest node the output, and every node adds what its edges bring.

    ``counts``: edges of each operator. ``live``: those that reach the output, for runtimes that leave dead code out,
    and those that also carry something of the input. ``physical``: additions, live nodes, depth. ``critical_path``:
    the heaviest way to the output under each weighting, for runtimes that execute branches side by side. ``paths``:
    operators on each way from input to output (left out where there are too many). ``one_hot``: operator by edge.

    Args:
        ops: shape (architectures, edges), operator of each edge, 0 … len(op_names) - 1.
        edges: shape (edges, 2), source and destination; a source is lower than its destination.
        none_op: the operator that is no connection.
        skip_op: the operator that hands its input on and costs nothing.
        weights: for the critical path, the weight of each operator, none below zero, by name; ``path_weights`` where
            none are given.

    Raises:
        UsageError: shapes that do not fit, an operator outside the list, or an edge that goes backwards.
    """
    chosen, way = _choices(ops, len(op_names)), checked_edges(edges)
    if chosen.shape[1] != len(way):
        raise UsageError(f"operators for {chosen.shape[1]} edges, but {len(way)} edges")
    free = (none_op, skip_op)
    weighings = path_weights(op_names, free) if weights is None else weights
    for name, row in weighings.items():
        if len(row) != len(op_names) or min(row) < 0:
            raise UsageError(f"weighting {name!r} must have {len(op_names)} weights, one per operator, none below zero")
    present = chosen != none_op
    alive = reaching(present, way)
    through = carrying(present, way)
    priced = [op for op in range(len(op_names)) if op != none_op]
    live = (_counts(name, chosen, op_names, where, priced) for name, where in (("alive", alive), ("through", through)))
    blocks = (
        _counts("counts", chosen, op_names, np.ones_like(present)),
        _joined("live", *live),
        _cell_shape(present, alive, through, way),
        _critical_path(chosen, through, way, weighings),
        *_paths(chosen, present, way, op_names, [op for op in priced if op not in free]),
        _one_hot(chosen, op_names),
    )
    return Encoding(blocks, np.logical_not(through.any(axis=1)))


def path_weights(op_names: Sequence[str], free: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """Weightings for the critical path: every ratio of the operators' costs out of a few levels.

    What an operator costs is not known before something was measured. But the cost of the heaviest path is convex and
    homogeneous in the operators' costs, so that a model which is linear in such columns comes near any of them.

    Args:
        free: operators that weigh nothing.
    """
    costly = [op for op in range(len(op_names)) if op not in free]
    levels: tuple[int, ...] = (1,)
    for many, offered in _LEVELS:
        if len(costly) <= many:
            levels = offered
            break
    if levels == (1,):
        return {"1" * len(costly): tuple(float(op in costly) for op in range(len(op_names)))}
    ratios = [ratio for ratio in product(levels, repeat=len(costly)) if gcd(*ratio) == 1]
    return {
        "".join(map(str, ratio)): tuple(
            float(ratio[costly.index(op)]) if op in costly else 0.0 for op in range(len(op_names))
        )
        for ratio in ratios
    }


def encode_layers(
    ops: npt.ArrayLike,
    layers: npt.ArrayLike,
    macs_lut: npt.ArrayLike,
    *,
    op_names: Sequence[str] = FBNET_OPS,
) -> Encoding:
    """Encode chains of inverted residuals.

    ``counts``: layers of each candidate. ``stage``: the same by stage, a stage being layers with equal output channels
    and output size. ``physical``: millions of multiply-adds, of those the depthwise ones, millions of activations
    written, and layers that compute something. ``one_hot``: candidate by layer.

    Args:
        ops: shape (architectures, layers), candidate of each layer, 0 … len(op_names) - 1.
        layers: shape (layers, 4), (input height, input channels, output channels, stride).
        macs_lut: shape (layers, candidates), multiply-adds.
        op_names: the candidates, ``k<kernel>_e<expansion>[_g<groups>]`` or anything else for a plain projection.

    Raises:
        UsageError: shapes that do not fit, or a candidate outside the list.
    """
    chosen, shape, macs = _choices(ops, len(op_names)), np.asarray(layers, dtype=np.int64), np.asarray(macs_lut, float)
    if shape.shape != (chosen.shape[1], 4) or macs.shape != (chosen.shape[1], len(op_names)):
        raise UsageError(
            f"candidates for {chosen.shape[1]} layers do not fit layers of shape {shape.shape} "
            f"and multiply-adds of shape {macs.shape}"
        )
    depthwise, activations = _layer_work(shape, op_names)
    return encode_chain(chosen, _stages(shape), ChainWork(macs, depthwise, activations), op_names=op_names)


@dataclass(frozen=True, eq=False)
class ChainWork:
    """What each candidate of each layer of a chain has to do, arrays of shape (layers, candidates).

    Attributes:
        macs: multiply-adds; ``depthwise_macs`` those of depthwise convolutions.
        activations: elements written; 0 for a candidate that computes nothing.
    """

    macs: Floats
    depthwise_macs: Floats
    activations: Floats


def encode_chain(ops: npt.ArrayLike, stages: npt.ArrayLike, work: ChainWork, *, op_names: Sequence[str]) -> Encoding:
    """Encode chains of any blocks; the columns are those of ``encode_layers``.

    Args:
        ops: shape (architectures, layers), candidate of each layer, 0 … len(op_names) - 1. A layer that may be absent
            has a candidate that says so.
        stages: shape (layers,), the number of the stage of each layer, from 0, ascending.

    Raises:
        UsageError: shapes that do not fit, or a candidate outside the list.
    """
    chosen, stage = _choices(ops, len(op_names)), np.asarray(stages, dtype=np.int64)
    if stage.shape != (chosen.shape[1],) or work.macs.shape != (chosen.shape[1], len(op_names)):
        raise UsageError(
            f"candidates for {chosen.shape[1]} layers do not fit stages of shape {stage.shape} "
            f"and work of shape {work.macs.shape}"
        )
    blocks = (
        _counts("counts", chosen, op_names, np.ones(chosen.shape, dtype=bool)),
        _stage(chosen, stage, op_names),
        _chain_work(chosen, work),
        _one_hot(chosen, op_names),
    )
    return Encoding(blocks, np.zeros(len(chosen), dtype=bool))


def _chain_work(chosen: Ints, work: ChainWork) -> Block:
    works = {
        "macs_millions": work.macs / 1e6,
        "depthwise_macs_millions": work.depthwise_macs / 1e6,
        "activations_millions": work.activations / 1e6,
        "active_layers": (work.activations > 0).astype(np.float64),
    }
    place = np.arange(chosen.shape[1])
    return Block(
        "physical", tuple(works), np.column_stack([each[place, chosen].sum(axis=1) for each in works.values()])
    )


def _choices(ops: npt.ArrayLike, operators: int) -> Ints:
    chosen = np.asarray(ops)
    if chosen.ndim != 2 or not np.issubdtype(chosen.dtype, np.integer):
        raise UsageError(f"operators must be integers of shape (architectures, places), not {chosen.shape}")
    if chosen.size and (int(chosen.min()) < 0 or int(chosen.max()) >= operators):
        raise UsageError(
            f"operators {int(chosen.min())} to {int(chosen.max())}, but the space has {operators}",
            remedy="give the operators in the order of op_names, counted from 0",
        )
    return chosen.astype(np.int64)


def _counts(name: str, chosen: Ints, op_names: Sequence[str], where: Bools, of: Sequence[int] | None = None) -> Block:
    wanted = range(len(op_names)) if of is None else of
    values = np.column_stack([((chosen == op) & where).sum(axis=1) for op in wanted])
    return Block(name, tuple(op_names[op] for op in wanted), values.astype(np.float64))


def _joined(name: str, *parts: Block) -> Block:
    columns = tuple(f"{part.name}_{column}" for part in parts for column in part.columns)
    return Block(name, columns, np.hstack([part.values for part in parts]))


def _one_hot(chosen: Ints, op_names: Sequence[str]) -> Block:
    values = (chosen[:, :, None] == np.arange(len(op_names))).reshape(len(chosen), -1)
    columns = tuple(f"{place}_{name}" for place in range(chosen.shape[1]) for name in op_names)
    return Block("one_hot", columns, values.astype(np.float64))


def _cell_shape(present: Bools, alive: Bools, through: Bools, edges: Sequence[tuple[int, int]]) -> Block:
    """Additions (edges into a node beyond the first), nodes that something flows through, and depth in edges."""
    columns = {
        "additions": additions(present, edges),
        "alive_additions": additions(alive, edges),
        "through_additions": additions(through, edges),
        "through_nodes": filled(through, edges),
        "depth": longest(through, np.ones(through.shape), edges),
        "connected": through.any(axis=1).astype(np.float64),
    }
    return Block("physical", tuple(columns), np.column_stack(list(columns.values())))


def _critical_path(
    chosen: Ints, through: Bools, edges: Sequence[tuple[int, int]], weights: Mapping[str, Sequence[float]]
) -> Block:
    columns = [longest(through, np.asarray(row, dtype=np.float64)[chosen], edges) for row in weights.values()]
    values = np.column_stack(columns) if columns else np.zeros((len(chosen), 0))
    return Block("critical_path", tuple(f"longest_{name}" for name in weights), values)


def _paths(
    chosen: Ints, present: Bools, edges: Sequence[tuple[int, int]], op_names: Sequence[str], of: Sequence[int]
) -> Iterator[Block]:
    """For each way from input to output whether it exists, and its operators; zeros where it does not exist."""
    through = ways(edges, _PATHS_MAX)
    if len(through) > _PATHS_MAX:
        return
    columns: list[str] = []
    values: list[Floats] = []
    for way in through:
        exists = np.asarray(present[:, way].all(axis=1), dtype=np.float64)
        label = "_".join(str(place) for place in way)
        columns.append(f"{label}_exists")
        values.append(exists)
        for op in of:
            columns.append(f"{label}_{op_names[op]}")
            values.append(np.asarray((chosen[:, way] == op).sum(axis=1), dtype=np.float64) * exists)
    yield Block("paths", tuple(columns), np.column_stack(values))


def _stages(layers: Ints) -> Ints:
    """The stage of each layer: a run of layers with one output size and one width."""
    signature = np.column_stack([-(-layers[:, 0] // layers[:, 3]), layers[:, 2]])
    return np.concatenate([[0], np.cumsum((np.diff(signature, axis=0) != 0).any(axis=1))])[: len(layers)]


def _stage(chosen: Ints, stage: Ints, op_names: Sequence[str]) -> Block:
    """Layers of each candidate by stage."""
    columns: list[str] = []
    values: list[Floats] = [np.zeros((len(chosen), 0))]
    for number in range(int(stage.max()) + 1 if len(stage) else 0):
        part = _counts("", chosen[:, stage == number], op_names, np.ones((len(chosen), (stage == number).sum()), bool))
        columns += [f"{number}_{column}" for column in part.columns]
        values.append(part.values)
    return Block("stage", tuple(columns), np.hstack(values))


def _layer_work(layers: Ints, op_names: Sequence[str]) -> tuple[Floats, Floats]:
    """Depthwise multiply-adds and activations written, both of shape (layers, candidates)."""
    depthwise, activations = np.zeros((len(layers), len(op_names))), np.zeros((len(layers), len(op_names)))
    for place, (size, inward, outward, stride) in enumerate(layers.tolist()):
        output = (-(-size // stride)) ** 2
        for op, name in enumerate(op_names):
            found = _CANDIDATE.fullmatch(name)
            if found is not None:
                kernel, expand = int(found[1]), int(found[2])
                depthwise[place, op] = output * kernel**2 * expand * inward
                activations[place, op] = size**2 * expand * inward + output * (expand * inward + outward)
            elif stride > 1 or inward != outward:
                activations[place, op] = output * outward
    return depthwise, activations
