"""LightGBM's trees as ai.onnx.ml's TreeEnsemble, run by ONNX Runtime: the fast path for many rows.

Thresholds, leaves and sums are doubles (opset 5; the older TreeEnsembleRegressor sums and answers in float32), and
ONNX Runtime adds tree after tree as LightGBM does, so that the answers are the same bits. Nobody has to believe it:
``TreeEnsemble`` compares itself with the trees it was made from before it answers anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, MissingPackage
from .tree_text import MISSING_NAN, MISSING_ZERO, Floats, Ints, Trees, cleaned

if TYPE_CHECKING:
    import onnx

_DOMAIN, _OPSET, _ONNX_OPSET, _IR_VERSION = "ai.onnx.ml", 5, 21, 10
#: Of ``nodes_modes``: ``x <= split`` and a member of a set; of ``aggregate_function``: the sum; no post-transform.
_AT_MOST, _MEMBER, _SUM, _AS_IT_IS = 0, 6, 1, 0
#: Rows of the comparison with the trees: each takes the neighbourhood of another threshold in every column.
_CHECKED_ROWS = 64


class TreeEnsemble:
    """An ONNX Runtime session that answers as ``Trees.predict`` does.

    Raises:
        ArtefactError: the trees cannot be written as this operator (``ensemble_model``), or the session answers
            otherwise than they do.
        MissingPackage: onnx or ONNX Runtime is not installed.
    """

    def __init__(self, trees: Trees) -> None:
        try:
            import onnxruntime

            model = ensemble_model(trees)
        except ImportError as error:
            raise MissingPackage("onnxruntime is not installed", remedy="pip install 'edgecost[host]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.trees = trees
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        rows = touchstones(trees)
        if not np.array_equal(self.predict(rows), trees.predict(rows)):
            raise ArtefactError("ONNX Runtime's tree ensemble does not answer as the trees it was made from")

    def predict(self, features: npt.ArrayLike) -> Floats:
        """Shape (rows,); raises UsageError for another number of columns than the trees have."""
        matrix = cleaned(features, self.trees.columns)
        if not len(matrix):
            return np.zeros(0)
        # LightGBM converts a category towards zero.
        asked = np.unique(self.trees.feature[self.trees.members_at >= 0])
        matrix[:, asked] = np.trunc(matrix[:, asked])
        scores: Floats = self._session.run(None, {"features": matrix})[0][:, 0]
        return scores


def ensemble_model(trees: Trees) -> onnx.ModelProto:
    """One TreeEnsemble node: ``features`` (rows, columns) double → ``score`` (rows, 1) double.

    Raises:
        ArtefactError: zeros count as missing in the trees, or one of them has no node.
    """
    from onnx import TensorProto, helper, numpy_helper

    if np.any(trees.missing == MISSING_ZERO):
        raise ArtefactError("trees that take zero for missing cannot become a TreeEnsemble")
    if np.any(trees.roots < 0):
        raise ArtefactError("a tree of one leaf cannot become part of a TreeEnsemble")
    is_category = trees.members_at >= 0
    members: list[float] = []
    for row in trees.members_at[is_category].tolist():
        # The sets stand one behind the other, each closed by a NaN.
        members += [*np.flatnonzero(trees.members[row]).astype(float).tolist(), np.nan]
    # Where nothing counts as missing LightGBM takes NaN for zero; an unknown category goes right.
    nan_left = np.where(trees.missing == MISSING_NAN, trees.default_left, trees.threshold >= 0.0) & ~is_category
    node = helper.make_node(
        "TreeEnsemble",
        ["features"],
        ["score"],
        domain=_DOMAIN,
        n_targets=1,
        aggregate_function=_SUM,
        post_transform=_AS_IT_IS,
        nodes_featureids=trees.feature.tolist(),
        nodes_splits=numpy_helper.from_array(np.where(is_category, 0.0, trees.threshold)),
        nodes_modes=numpy_helper.from_array(np.where(is_category, _MEMBER, _AT_MOST).astype(np.uint8)),
        nodes_missing_value_tracks_true=nan_left.astype(int).tolist(),
        leaf_targetids=[0] * len(trees.leaves),
        leaf_weights=numpy_helper.from_array(trees.leaves),
        membership_values=numpy_helper.from_array(np.array(members, dtype=np.float64)),
    )
    node.attribute.extend(helper.make_attribute(name, value) for name, value in _links(trees).items())
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["rows", trees.columns])],
        [helper.make_tensor_value_info("score", TensorProto.DOUBLE, ["rows", 1])],
    )
    opsets = [helper.make_opsetid("", _ONNX_OPSET), helper.make_opsetid(_DOMAIN, _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def _links(trees: Trees) -> dict[str, list[int]]:
    """Roots and children."""

    def linked(child: Ints) -> tuple[list[int], list[int]]:
        is_leaf = child < 0
        return np.where(is_leaf, -1 - child, child).tolist(), is_leaf.astype(int).tolist()

    left, left_is_leaf = linked(trees.left)
    right, right_is_leaf = linked(trees.right)
    return {
        "tree_roots": trees.roots.tolist(),
        "nodes_truenodeids": left,
        "nodes_trueleafs": left_is_leaf,
        "nodes_falsenodeids": right,
        "nodes_falseleafs": right_is_leaf,
    }


def touchstones(trees: Trees) -> Floats:
    """Rows on, just below and just above thresholds, with zeros, infinities and NaN among them, shape (64, columns)."""
    rows = np.empty((_CHECKED_ROWS, trees.columns))
    generator = np.random.default_rng(0)
    for column in range(trees.columns):
        asks = trees.feature == column
        limits = trees.threshold[asks & (trees.members_at < 0)]
        known = [limits, np.nextafter(limits, -np.inf), np.nextafter(limits, np.inf)]
        if np.any(asks & (trees.members_at >= 0)):
            known.append(np.arange(-1.0, trees.members.shape[1] + 2))
        rows[:, column] = generator.choice(np.concatenate([*known, [0.0, np.inf, -np.inf, np.nan]]), _CHECKED_ROWS)
    return rows
