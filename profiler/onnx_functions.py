"""What a model's local functions come to when each is written out where it is called, as runtimes do.

Sixteen functions that call the next one ten times each are a small file, and a model of ten million billion nodes. This
computes such sizes, and writes nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import UnsafeModel

#: Domain and name, as they stand in the model, ``ai.onnx`` as the empty domain. Overloads count as one function: a
#: runtime that is older than they are cannot tell them apart.
Operator = tuple[bytes, bytes]
#: A name in a message is at most this long; in a model it may have megabytes.
_SHOWN_BYTES = 60


@dataclass
class Body:
    """What stands in a function, or in the model outside its functions; grows while it is read.

    Attributes:
        depth: the deepest nesting of graphs inside it.
        calls: how often each operator stands in it, and how deep at most.
    """

    nodes: int = 0
    tensor_bytes: int = 0
    model_bytes: int = 0
    depth: int = 0
    calls: dict[Operator, tuple[int, int]] = field(default_factory=dict)

    def call(self, operator: Operator, depth: int) -> None:
        count, deepest = self.calls.get(operator, (0, 0))
        self.nodes += 1
        self.calls[operator] = count + 1, max(deepest, depth)


@dataclass(frozen=True)
class Cost:
    """A body with everything that it calls written out."""

    nodes: int
    tensor_bytes: int
    model_bytes: int
    depth: int


def expand(main: Body, functions: Mapping[Operator, Sequence[Body]], check: Callable[[Cost], None]) -> Cost:
    """The cost of the whole model. ``check`` sees that of each function, called or not, before its callers are added.

    Raises:
        UnsafeModel: a function calls itself, by way of others or not.
    """
    costs: dict[Operator, Cost] = {}
    for operator in _callees_first(functions):
        costs[operator] = _total(functions[operator], costs)
        check(costs[operator])
    whole = _total([main], costs)
    check(whole)
    return whole


def shown(name: bytes) -> str:
    """A name in quotes, as messages have it."""
    text = name[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return repr(text) + ("…" if len(name) > _SHOWN_BYTES else "")


def _total(bodies: Iterable[Body], costs: Mapping[Operator, Cost]) -> Cost:
    nodes = tensor_bytes = model_bytes = depth = 0
    for body in bodies:
        nodes += body.nodes
        tensor_bytes += body.tensor_bytes
        model_bytes += body.model_bytes
        depth = max(depth, body.depth)
        for operator, (count, call_depth) in body.calls.items():
            callee = costs.get(operator)
            if callee is not None:
                nodes += count * callee.nodes
                tensor_bytes += count * callee.tensor_bytes
                model_bytes += count * callee.model_bytes
                depth = max(depth, call_depth + 1 + callee.depth)
    return Cost(nodes, tensor_bytes, model_bytes, depth)


def _callees_first(functions: Mapping[Operator, Sequence[Body]]) -> Iterator[Operator]:
    """Each function after those that it calls; without recursion, since chains of calls may be long."""
    done: set[Operator] = set()
    for first in functions:
        way, on_way = [(first, _called(functions, first))], {first}
        while way and first not in done:
            operator, callees = way[-1]
            callee = next((name for name in callees if name not in done), None)
            if callee is None:
                way.pop()
                on_way.remove(operator)
                done.add(operator)
                yield operator
            elif callee in on_way:
                raise UnsafeModel(
                    f"the local function {shown(callee[1])} calls itself"
                    + (f", by way of {shown(operator[1])}" if operator != callee else ""),
                    remedy="ONNX allows no recursion: write it as a Loop.",
                )
            else:
                way.append((callee, _called(functions, callee)))
                on_way.add(callee)


def _called(functions: Mapping[Operator, Sequence[Body]], operator: Operator) -> Iterator[Operator]:
    return (name for body in functions[operator] for name in body.calls if name in functions)
