"""A table as a profiler of NNI's searches: it filters samples, and its expression gives expectations and gradients.

NNI 3.0 gives the ``penalty=`` of its DARTS, Gumbel and Proxyless strategies probabilities without gradients, so the
search does not feel it: add ``ExpectationProfilerPenalty`` to the loss of your own training step instead.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...profiler.errors import MissingPackage, UsageError
from ..cost_table import CostTable, Floats, Metric
from ..lut import Lut
from ..space import Space
from ..spaces.slots import Factor
from .labels import Choice, candidate_choices, depth_choices

try:
    import torch
    from nni.mutable import Categorical, MutableExpression
    from nni.nas.profiler import ExpressionProfiler
    from nni.nas.space import BaseModelSpace
except ImportError as error:
    raise MissingPackage(
        f"NNI's search is needed for its profilers: {error}", remedy="pip install nni torch pytorch-lightning"
    ) from error

if TYPE_CHECKING:
    import onnx

#: Of NNI's graphs for nn-Meter; older runtimes read it.
_OPSET = 17


class LutProfiler(ExpressionProfiler):  # type: ignore[misc]  # NNI ships no types
    """Corrected latency in ms, or energy in mJ, of a sample ``{label: choice}``.

    Labels are ``stage2[0]`` for a position and ``stage2 depth`` for an elastic stage, or what ``labels`` says.
    Values are the names of candidates, which a space may offer in part, or their indices; depths are numbers.

    Args:
        labels: from these labels to those of the model space.
        ignored: labels of the model space that cost no time; any other that the table's space lacks is refused.
        metric: ``latency`` (ms) or ``energy`` (mJ).
        space: needed only where the table's space is not a built-in one.

    Attributes:
        expression: the cost, symbolic in the choices; what NNI takes expectations of.

    Raises:
        GateError: the table lacks cells of the space, or their energy.
        UsageError: the model space's choices are not the space's.
    """

    def __init__(
        self,
        model_space: BaseModelSpace,
        lut: Lut,
        *,
        labels: Mapping[str, str] | None = None,
        ignored: Collection[str] = (),
        metric: Metric = "latency",
        space: Space | None = None,
    ) -> None:
        super().__init__(model_space)
        table = CostTable.of(lut, space, metric)
        self.space, self.metric = table.space, metric
        choices = _Choices(model_space.simplify(), labels or {})
        places = _places(table.space, choices)
        choices.refuse_others(ignored)
        self.expression = table.constant
        for factor, costs in zip(table.space.factors, table.tables, strict=True):
            self.expression = self.expression + _cost(factor, costs, [places[place] for place in factor.scope])


@dataclass(frozen=True)
class _Symbol:
    """A choice of the model space: from its values to indices of candidates, or to depths."""

    mutable: Categorical
    number: Mapping[Hashable, int]


@dataclass(frozen=True)
class _Place:
    """What decides about one position; no symbol is the only candidate, or a place that is always active."""

    candidate: _Symbol | None
    depth: _Symbol | None
    offset: int

    def index(self, chosen: Mapping[str, Hashable]) -> int:
        if self.depth and self.depth.number[chosen[self.depth.mutable.label]] <= self.offset:
            return -1
        return self.candidate.number[chosen[self.candidate.mutable.label]] if self.candidate else 0

    @property
    def symbols(self) -> list[_Symbol]:
        return [symbol for symbol in (self.candidate, self.depth) if symbol]


class _Choices:
    """The choices of a model space, found by the labels that ours have there."""

    def __init__(self, mutables: Mapping[str, object], labels: Mapping[str, str]) -> None:
        self._mutables, self._labels = mutables, labels
        self._used: set[str] = set()

    def find(self, choice: Choice) -> _Symbol | None:
        """None where there is nothing to choose, and the model space does not pretend to."""
        label = self._labels.get(choice.label, choice.label)
        mutable = self._mutables.get(label)
        if mutable is None and len(choice.values) == 1:
            return None
        if not isinstance(mutable, Categorical):
            raise UsageError(
                f"the model space has no choice '{label}' for '{choice.label}'",
                remedy=f"Say what it is called there, in labels=. It has {_listed(self._mutables)}.",
            )
        self._used.add(label)
        return _Symbol(mutable, _numbers(mutable, choice))

    def refuse_others(self, ignored: Collection[str]) -> None:
        """A choice that the table does not see would be free of cost without a word."""
        if others := [label for label in self._mutables if label not in self._used and label not in ignored]:
            raise UsageError(
                f"the table knows nothing of {_listed(others)}",
                remedy="Name what costs no time in ignored=, and what is called otherwise in labels=.",
            )


def _listed(labels: Collection[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels) or "none"


def _numbers(mutable: Categorical, choice: Choice) -> dict[Hashable, int]:
    """From values of the model space to indices of candidates, or to depths."""
    given, known = list(mutable.values), list(choice.values)
    if set(given) <= set(known):
        return {value: value if isinstance(value, int) else known.index(value) for value in given}
    if isinstance(known[0], str) and given == list(range(len(known))):
        return {value: value for value in given}
    raise UsageError(
        f"'{mutable.label}' chooses among {given}",
        remedy=f"Let it choose among {known}" + (", or their indices." if isinstance(known[0], str) else "."),
    )


def _places(space: Space, choices: _Choices) -> list[_Place]:
    depths = {layer: choices.find(choice) for layer, choice in depth_choices(space).items()}
    candidates = candidate_choices(space)
    return [
        _Place(choices.find(candidates[place]), depths.get(stage.layer), place - stage.start)
        for stage in space.stages
        for place in range(stage.start, stage.stop)
    ]


def _cost(factor: Factor, costs: Floats, places: list[_Place]) -> MutableExpression | float:
    """Symbolic in whatever decides about the places of a factor."""
    symbols = {symbol.mutable.label: symbol.mutable for place in places for symbol in place.symbols}

    def cost(*values: Hashable) -> float:
        chosen = dict(zip(symbols, values, strict=True))
        flat = 0
        for place, size in zip(places, factor.sizes, strict=True):
            flat = flat * size + place.index(chosen) % size
        return float(costs[flat])

    if not symbols:
        return cost()
    template = f"cost({', '.join(['{}'] * len(symbols))})"
    return MutableExpression(cost, template, list(symbols.values()))


def exported(module: torch.nn.Module, example_inputs: object) -> onnx.ModelProto:
    """A torch module as ONNX with its parameters, for ``nni.nas.profiler.pytorch.nn_meter.to_onnx`` to be replaced by.

    NNI's own leaves parameters out, which makes weights inputs that nothing is folded into, and works neither with
    torch's newer exporter nor with newer onnx.
    """
    import onnx

    file = io.BytesIO()
    arguments = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    torch.onnx.export(module, arguments, file, opset_version=_OPSET, dynamo=False)
    return onnx.load_model_from_string(file.getvalue())
