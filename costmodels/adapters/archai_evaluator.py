"""A table as archai's evaluator of latency, and as the part of its surrogate that need not be learnt.

Milliseconds: archai's own latencies are seconds, so give limits in milliseconds, and do not mix the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import numpy as np
import numpy.typing as npt

from ...profiler.errors import MissingPackage, UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.coding import NativeArch, Numeric

try:
    from archai.discrete_search.api.archai_model import ArchaiModel
    from archai.discrete_search.api.model_evaluator import ModelEvaluator
    from archai.discrete_search.api.predictor import MeanVar, Predictor
    from overrides import overrides
except ImportError as error:
    raise MissingPackage("archai is needed for its evaluators", remedy="pip install archai") from error

Floats = npt.NDArray[np.float64]


class LutEvaluator(ModelEvaluator):  # type: ignore[misc]  # archai ships no types
    """Corrected latency in ms, for ``SearchObjectives.add_objective`` and ``add_constraint``.

    It costs nothing to ask: register it with ``compute_intensive=False``, and it may have a constraint in ms.

    Args:
        arch_of: the space's architecture of one of archai's models, in native form or as indices (positions,).
        space: needed only where the table's space is not a built-in one.
    """

    def __init__(
        self, lut: Lut, arch_of: Callable[[ArchaiModel], Numeric | NativeArch], space: Space | None = None
    ) -> None:
        self.lut, self.arch_of, self.space = lut, arch_of, space or lut.space

    @overrides  # type: ignore[untyped-decorator]  # archai refuses a method without it
    def evaluate(self, arch: ArchaiModel, budget: Optional[float] = None) -> float:  # noqa: UP045 -- as archai writes it
        """Latency in ms; a budget makes no difference.

        Raises:
            GateError: the table lacks a cell of the architecture.
        """
        return float(self.lut.price(self.space.one(self.arch_of(arch))[None, :], space=self.space)[0])


class LutPredictor(Predictor):  # type: ignore[misc]  # archai ships no types
    """A surrogate whose latency column, in ms, is the table's; another surrogate learns the other columns.

    Args:
        others: for the other targets; None where latency is the only one.
        column: of latency among the targets, which are in the order of the expensive objectives.
        arch_of: the architecture of an encoded one; by default the encoding is the indices (positions,) themselves.
        space: needed only where the table's space is not a built-in one.
    """

    def __init__(
        self,
        lut: Lut,
        others: Predictor | None = None,
        *,
        column: int = 0,
        arch_of: Callable[[Floats], Numeric | NativeArch] | None = None,
        space: Space | None = None,
    ) -> None:
        self.lut, self.others, self.column, self.space = lut, others, column, space or lut.space
        self._arch_of = arch_of or (lambda encoded: np.rint(encoded).astype(np.int16))
        self._variance_ms2: float | None = None

    @overrides  # type: ignore[untyped-decorator]  # archai refuses a method without it
    def fit(self, encoded_archs: np.ndarray, y: np.ndarray) -> None:
        """Learn the other columns, and how far observed latencies (ms) are from the table's: their variance.

        Raises:
            UsageError: there are columns that nothing learns.
        """
        observed = np.asarray(y, dtype=np.float64).reshape(len(encoded_archs), -1)
        rest = np.delete(observed, self.column, axis=1)
        if rest.shape[1] and self.others is None:
            raise UsageError(
                f"{rest.shape[1]} targets beside latency have no surrogate",
                remedy="Give one: LutPredictor(lut, others).",
            )
        self._variance_ms2 = float(np.mean((observed[:, self.column] - self._price(encoded_archs)) ** 2))
        if self.others is not None:
            self.others.fit(encoded_archs, rest)

    @overrides  # type: ignore[untyped-decorator]  # archai refuses a method without it
    def predict(self, encoded_archs: np.ndarray) -> MeanVar:
        """Means and variances, each (n, targets); of latency in ms and ms².

        Raises:
            UsageError: ``fit`` was not called.
            GateError: the table lacks a cell of an architecture.
        """
        if self._variance_ms2 is None:
            raise UsageError("nothing was observed yet, so there is no variance", remedy="Call fit() first.")
        mean = self._price(encoded_archs)[:, None]
        variance = np.full_like(mean, self._variance_ms2)
        if self.others is None:
            return MeanVar(mean, variance)
        rest = self.others.predict(encoded_archs)
        return MeanVar(
            np.insert(np.asarray(rest.mean, dtype=np.float64), self.column, mean[:, 0], axis=1),
            np.insert(np.asarray(rest.var, dtype=np.float64), self.column, variance[:, 0], axis=1),
        )

    def _price(self, encoded: np.ndarray) -> Floats:
        archs = np.array([self.space.one(self._arch_of(row)) for row in encoded], dtype=np.int16)
        return self.lut.price(archs.reshape(len(encoded), -1), space=self.space)
