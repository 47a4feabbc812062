"""LightGBM's own text, read and evaluated without LightGBM: the same numbers, bit for bit, without a second of imports.

It reads what our trainers write: one regression output, constant leaves, categories, missing values of every type. It
does not train, and for many rows LightGBM is faster (``stored_trees.py`` chooses).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: LightGBM's ``kZeroThreshold`` (include/LightGBM/meta.h): values up to it count as zero.
ZERO = float(np.float32(1e-35))
#: What counts as missing; bits 2 and 3 of ``decision_type`` (include/LightGBM/tree.h).
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
#: The other bits: the node asks for a category; what is missing goes left.
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
#: Objectives whose prediction is the sum of the leaves as it is.
_PLAIN = frozenset({"none", "custom", "regression", "regression_l1", "huber", "fair", "quantile", "mape"})
_WORD_BITS = 32
#: Rows × trees that are walked at once: the working arrays stay within some ten megabytes.
_WALKED_AT_ONCE = 1 << 18
_REMEDY = "train it again: edgecost train"


@dataclass(frozen=True, eq=False)
class Trees:
    """All trees of a model in flat arrays, one entry per inner node, the nodes of a tree beside each other.

    Attributes:
        columns: of the feature matrix.
        roots: the first node of each tree, shape (trees,). Wherever a node is meant, -1 - k is leaf k.
        feature, threshold: of each node, shape (nodes,); where it asks for a category the threshold means nothing.
        default_left: whether what is missing goes left.
        missing: ``MISSING_NONE``, ``MISSING_ZERO`` or ``MISSING_NAN``.
        left, right: the nodes that follow.
        members_at: row of ``members`` of a node that asks for a category; -1 of the others.
        members: the categories that go left, shape (nodes with categories, largest category + 1).
        leaves: values, shape (leaves,).
    """

    columns: int
    roots: Ints
    feature: Ints
    threshold: Floats
    default_left: Flags
    missing: Ints
    left: Ints
    right: Ints
    members_at: Ints
    members: Flags
    leaves: Floats

    def predict(self, features: npt.ArrayLike) -> Floats:
        """The sum of the leaves that each row falls into, shape (rows,).

        Args:
            features: shape (rows, columns); NaN and infinities are allowed.

        Raises:
            UsageError: another number of columns.
        """
        matrix = cleaned(features, self.columns)
        scores = np.zeros(len(matrix))
        step = max(1, _WALKED_AT_ONCE // max(1, len(self.roots)))
        for first in range(0, len(matrix), step):
            reached = self.leaves[self._walk(matrix[first : first + step])]
            # Tree after tree, as LightGBM adds: another order rounds otherwise.
            for values in reached:
                scores[first : first + step] += values
        return scores

    def _walk(self, matrix: Floats) -> Ints:
        """The leaf of each row in each tree, shape (trees, rows)."""
        rows = np.tile(np.arange(len(matrix)), len(self.roots))
        node = np.repeat(self.roots, len(matrix))
        active = np.flatnonzero(node >= 0)
        while len(active):
            at = node[active]
            goes_left = self._decide(at, matrix[rows[active], self.feature[at]])
            node[active] = np.where(goes_left, self.left[at], self.right[at])
            active = active[node[active] >= 0]
        return (-1 - node).reshape(len(self.roots), len(matrix))

    def _decide(self, at: Ints, value: Floats) -> Flags:
        """``Tree::NumericalDecision`` and ``Tree::CategoricalDecision`` (include/LightGBM/tree.h)."""
        absent, missing = np.isnan(value), self.missing[at]
        number = np.where(absent & (missing != MISSING_NAN), 0.0, value)
        by_default = ((missing == MISSING_ZERO) & (number == 0.0)) | ((missing == MISSING_NAN) & absent)
        goes_left: Flags = np.where(by_default, self.default_left[at], number <= self.threshold[at])
        asked = np.flatnonzero(self.members_at[at] >= 0)
        if len(asked):
            # Towards zero, as C converts; what is no category, or an unknown one, goes right.
            category = value[asked]
            known = (category > -1) & (category < self.members.shape[1])
            place = np.where(known, category, 0.0).astype(np.int64)
            goes_left[asked] = known & self.members[self.members_at[at[asked]], place]
        return goes_left


def cleaned(features: npt.ArrayLike, columns: int) -> Floats:
    """A copy of the features as LightGBM sees them: what it takes for zero is zero.

    Raises:
        UsageError: another number of columns.
    """
    matrix = np.array(features, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise UsageError(f"the trees ask for a matrix of {columns} columns, not for shape {matrix.shape}")
    matrix[np.abs(matrix) <= ZERO] = 0.0
    return matrix


def read_trees(text: str) -> Trees:
    """Read what ``Booster.model_to_string`` wrote.

    Raises:
        ArtefactError: truncated or no such text, or a kind of model that our trainers do not make: several outputs,
            linear leaves, averaged trees, or an objective that transforms the sum.
    """
    head, *parts = text.split("\nTree=")
    try:
        fields = dict(_fields(head))
        _refuse_others(fields, head)
        trees = [dict(_fields(part.partition("\n\n")[0])) for part in parts]
        if len(trees) != len(fields["tree_sizes"].split()) or "\nend of trees" not in text:
            raise ArtefactError("the trees are truncated", remedy=_REMEDY)
        return _assemble(int(fields["max_feature_idx"]) + 1, trees)
    except (KeyError, ValueError, IndexError) as error:
        raise ArtefactError(f"these are not LightGBM's trees: {error!r}", remedy=_REMEDY) from error


def _fields(lines: str) -> Iterator[tuple[str, str]]:
    for line in lines.split("\n"):
        name, is_field, value = line.partition("=")
        if is_field:
            yield name, value


def _refuse_others(fields: Mapping[str, str], head: str) -> None:
    objective = fields.get("objective", "none").split() or ["none"]
    if fields["num_class"] != "1" or fields["num_tree_per_iteration"] != "1":
        raise ArtefactError("trees with several outputs are not read", remedy=_REMEDY)
    if "\naverage_output" in head or objective[0] not in _PLAIN or "sqrt" in objective[1:]:
        raise ArtefactError(f"trees of the objective {' '.join(objective)} are not read", remedy=_REMEDY)


def _assemble(columns: int, trees: Sequence[Mapping[str, str]]) -> Trees:
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise ArtefactError("trees with linear leaves are not read", remedy=_REMEDY)
    leaf_counts = np.array([int(tree["num_leaves"]) for tree in trees], dtype=np.int64)
    node_counts = leaf_counts - 1
    first_node, first_leaf = _starts(node_counts), _starts(leaf_counts)
    numbers = {name: _integers(tree.get(name, "") for tree in trees) for name in ("split_feature", "decision_type")}
    kind = numbers["decision_type"]
    threshold = _floats(tree.get("threshold", "") for tree in trees)
    left, right = (
        _placed(_integers(tree.get(name, "") for tree in trees), node_counts, first_node, first_leaf)
        for name in ("left_child", "right_child")
    )
    leaves = _floats(tree["leaf_value"] for tree in trees)
    of_nodes = (*numbers.values(), threshold, left, right)
    if any(len(one) != node_counts.sum() for one in of_nodes) or len(leaves) != leaf_counts.sum():
        raise ArtefactError("the trees are truncated", remedy=_REMEDY)
    if not (_leads_down(left, len(leaves)) and _leads_down(right, len(leaves))):
        raise ArtefactError("the trees run in circles", remedy=_REMEDY)
    if np.any((numbers["split_feature"] < 0) | (numbers["split_feature"] >= columns)):
        raise ArtefactError("the trees ask for columns that there are not", remedy=_REMEDY)
    members_at, members = _categories(trees, kind, threshold, np.repeat(np.arange(len(trees)), node_counts))
    return Trees(
        columns=columns,
        roots=np.where(node_counts > 0, first_node, -1 - first_leaf),
        feature=numbers["split_feature"],
        threshold=threshold,
        default_left=(kind & _DEFAULT_LEFT) > 0,
        missing=kind >> _MISSING_SHIFT & 3,
        left=left,
        right=right,
        members_at=members_at,
        members=members,
        leaves=leaves,
    )


def _starts(counts: Ints) -> Ints:
    starts: Ints = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return starts


def _placed(child: Ints, node_counts: Ints, first_node: Ints, first_leaf: Ints) -> Ints:
    """Children counted from the start of the model instead of their tree; leaf k of a tree is ``-1 - k`` there too."""
    placed: Ints = child + np.where(child >= 0, np.repeat(first_node, node_counts), -np.repeat(first_leaf, node_counts))
    return placed


def _leads_down(child: Ints, leaves: int) -> bool:
    """Whether every way ends: LightGBM numbers nodes as it makes them, so that a child comes after its parent."""
    return bool(np.all(np.where(child >= 0, child > np.arange(len(child)), child >= -leaves) & (child < len(child))))


def _categories(trees: Sequence[Mapping[str, str]], kind: Ints, threshold: Floats, tree_of: Ints) -> tuple[Ints, Flags]:
    """Sets of categories: bit c of the words between two boundaries stands for category c."""
    asking = np.flatnonzero(kind & _CATEGORICAL)
    bounds = [[int(word) for word in tree.get("cat_boundaries", "").split()] for tree in trees]
    words = [np.array(tree.get("cat_threshold", "").split(), dtype=np.uint32) for tree in trees]
    found = []
    for node in asking.tolist():
        tree, place = int(tree_of[node]), int(threshold[node])
        first, behind = bounds[tree][place], bounds[tree][place + 1]
        found.append(np.unpackbits(words[tree][first:behind].view(np.uint8), bitorder="little"))
    members = np.zeros((len(found), max(map(len, found), default=_WORD_BITS)), dtype=bool)
    for row, bits in enumerate(found):
        members[row, : len(bits)] = bits
    members_at = np.full(len(kind), -1, dtype=np.int64)
    members_at[asking] = np.arange(len(asking))
    return members_at, members


def _integers(texts: Iterable[str]) -> Ints:
    return np.array(" ".join(texts).split(), dtype=np.int64)


def _floats(texts: Iterable[str]) -> Floats:
    return np.array(" ".join(texts).split(), dtype=np.float64)
