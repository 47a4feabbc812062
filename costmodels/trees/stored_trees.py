"""The trees of a saved model, without LightGBM where that pays: three ways to the same bits.

A few rows are walked by our own reader: LightGBM's Python takes about a second to import, since it looks for pandas,
SciPy and scikit-learn. Many rows go to ONNX Runtime's tree ensemble, and to LightGBM where that cannot be had.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, MissingPackage
from .tree_ensemble import TreeEnsemble
from .tree_text import Floats, Trees, read_trees

if TYPE_CHECKING:
    import lightgbm as lgb

#: Up to so many rows walking the trees ourselves is over before an ensemble is made (some 25 ms for 600 trees).
WALKED_ROWS_MAX = 256


class StoredTrees:
    """What ``Booster.model_to_string`` wrote, ready to predict.

    Raises:
        ArtefactError: the text is not LightGBM's, or of a kind of model that our trainers do not make.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._trees: Trees = read_trees(text)

    def __reduce__(self) -> tuple[type[StoredTrees], tuple[str]]:
        # The text says all of it; an ensemble of ONNX Runtime could not travel to another process.
        return StoredTrees, (self._text,)

    def predict(self, features: npt.ArrayLike) -> Floats:
        """Shape (rows,). Raises UsageError for another number of columns than the trees have."""
        matrix = np.asarray(features, dtype=np.float64)
        if len(matrix) <= WALKED_ROWS_MAX:
            return self._trees.predict(matrix)
        if self._ensemble is not None:
            return self._ensemble.predict(matrix)
        return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)

    def model_to_string(self) -> str:
        """The text, as it was read."""
        return self._text

    @cached_property
    def booster(self) -> lgb.Booster:
        """The same trees in LightGBM."""
        import lightgbm as lgb

        return lgb.Booster(model_str=self._text)

    @cached_property
    def _ensemble(self) -> TreeEnsemble | None:
        try:
            return TreeEnsemble(self._trees)
        except (ArtefactError, MissingPackage):
            return None
