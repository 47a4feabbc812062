"""Follow ONNX nodes through TVM's fusion: which nodes a kernel came from, and which operators it fuses.

Up to fusion the names of variables say it (``importer.py``): a binding without a name of its own was made on the way
to a named one, so it belongs to the nodes that read it. Fusion forgets names and shares one function between equal
groups; so it is replayed: every call of a fused function is run symbolically on its arguments, and each step is matched
with the binding before fusion that did the same on the same values.

It is coarse in two places. A binding read by several nodes belongs to all of them. What stands in the branches of an If
belongs to the If. Where several bindings do the same on the same activations with different weights, they are matched
in the order in which they stand, which fusion keeps.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tvm
from tvm import relax

_ORIGIN = re.compile(r"onnx_(\d+)_")

#: The symbolic value of an expression: nested tuples, with variables of the unfused function at the leaves.
Key = tuple[object, ...]
Nodes = frozenset[int]


@dataclass(frozen=True)
class Origin:
    """Where one call of ``main`` after fusion came from.

    Attributes:
        callee: what it calls, as the module names it.
        nodes: positions of ONNX nodes.
        steps: names of the functions that were fused into it, in order.
    """

    callee: str
    nodes: Nodes
    steps: tuple[str, ...]


def flat_bindings(function: relax.Function) -> list[relax.Binding]:
    """All bindings in order of execution; those of the branches of an If stand before it."""
    return list(_flat(function.body))


def _flat(body: relax.Expr) -> Iterator[relax.Binding]:
    if not isinstance(body, relax.SeqExpr):
        return
    for block in body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.If):
                yield from _flat(binding.value.true_branch)
                yield from _flat(binding.value.false_branch)
            yield binding


def nodes_by_variable(main: relax.Function) -> dict[relax.Var, Nodes]:
    """The ONNX nodes of every binding of an unfused function. None of the sets is empty unless all are."""
    bindings = flat_bindings(main)
    found: dict[relax.Var, Nodes] = {}
    wanted: dict[relax.Var, Nodes] = defaultdict(frozenset)
    for binding in reversed(bindings):
        named = _ORIGIN.match(binding.var.name)
        nodes = frozenset({int(named[1])}) if named else wanted[binding.var]
        found[binding.var] = nodes
        for read in relax.analysis.free_vars(binding.value):
            wanted[read] |= nodes
        if isinstance(binding.value, relax.If):
            for inner in (*_flat(binding.value.true_branch), *_flat(binding.value.false_branch)):
                wanted[inner.var] |= nodes
    # What nobody reads runs all the same: a second result that the graph leaves out. It goes with its neighbour.
    neighbour: Nodes = next((found[binding.var] for binding in bindings if found[binding.var]), frozenset())
    for binding in bindings:
        found[binding.var] = neighbour = found[binding.var] or neighbour
    return found


def replay_fusion(unfused: tvm.IRModule, fused: tvm.IRModule) -> list[Origin]:
    """The origin of every call in ``main`` of a module after FuseOps and before FuseTIR, in order of execution."""
    return list(_Replay(unfused["main"], fused).calls())


class _Replay:
    def __init__(self, before: relax.Function, fused: tvm.IRModule) -> None:
        self._fused = fused
        self._main: relax.Function = fused["main"]
        self._nodes = nodes_by_variable(before)
        self._known: dict[relax.Var, Key] = dict(
            zip(self._main.params, (("var", param) for param in before.params), strict=True)
        )
        self._waiting: dict[Key, deque[relax.Var]] = defaultdict(deque)
        for binding in flat_bindings(before):
            self._waiting[_key(binding.value, {})].append(binding.var)

    def calls(self) -> Iterator[Origin]:
        neighbour: Nodes = frozenset()
        for binding in flat_bindings(self._main):
            call = binding.value
            group = self._group(call)
            if group is None:
                taken = self._take(call, self._known)
                self._known[binding.var] = ("var", taken) if taken is not None else _key(call, self._known)
                matched, steps = [taken], _steps(call)
            else:
                matched, steps = self._run(binding.var, call, group)
            if isinstance(call, relax.Call):
                nodes = frozenset().union(*(self._nodes[var] for var in matched if var is not None))
                neighbour = nodes or neighbour
                yield Origin(callee(call), neighbour, steps)

    def _group(self, call: relax.Expr) -> relax.Function | None:
        """The function that FuseOps made, if this calls one."""
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.GlobalVar):
            return None
        function = self._fused[call.op]
        return function if isinstance(function, relax.Function) else None

    def _run(
        self, result: relax.Var, call: relax.Call, group: relax.Function
    ) -> tuple[list[relax.Var | None], tuple[str, ...]]:
        known = {param: _key(argument, self._known) for param, argument in zip(group.params, call.args, strict=True)}
        matched: list[relax.Var | None] = []
        steps: tuple[str, ...] = ()
        for binding in flat_bindings(group):
            taken = self._take(binding.value, known)
            known[binding.var] = ("var", taken) if taken is not None else _key(binding.value, known)
            if isinstance(binding.value, relax.Call):
                matched.append(taken)
                steps += _steps(binding.value)
        self._known[result] = _key(group.body.body, known)
        return matched, steps

    def _take(self, value: relax.Expr, known: Mapping[relax.Var, Key]) -> relax.Var | None:
        """The first binding before fusion that did this and is not taken yet."""
        waiting = self._waiting.get(_key(value, known))
        return waiting.popleft() if waiting else None


def callee(call: relax.Call) -> str:
    """What a call runs: the function or packed function behind ``call_tir`` and its kin, or the operator itself."""
    target = call.args[0] if call.args and isinstance(call.args[0], tvm.ir.GlobalVar | relax.ExternFunc) else call.op
    if isinstance(target, tvm.ir.GlobalVar):
        return str(target.name_hint)
    return str(target.global_symbol) if isinstance(target, relax.ExternFunc) else str(target.name)


def _steps(value: relax.Expr) -> tuple[str, ...]:
    return (callee(value),) if isinstance(value, relax.Call) else ()


def _key(value: relax.Expr, known: Mapping[relax.Var, Key]) -> Key:
    """Equal for expressions that do the same on the same values; weights are all alike, they have moved by then."""
    if isinstance(value, relax.Var):
        return known.get(value, ("var", value))
    if isinstance(value, tvm.ir.GenericConst):
        return ("constant",)
    if isinstance(value, relax.Call):
        return ("call", _name(value.op), *(_key(argument, known) for argument in value.args))
    if isinstance(value, relax.Tuple):
        return ("tuple", *(_key(field, known) for field in value.fields))
    if isinstance(value, relax.TupleGetItem):
        whole = _key(value.tuple_value, known)
        if whole[0] == "tuple":
            chosen = whole[1 + value.index]
            assert isinstance(chosen, tuple)
            return chosen
        return ("item", value.index, whole)
    return (_name(value),)


def _name(value: relax.Expr) -> str:
    if isinstance(value, tvm.ir.GlobalVar):
        return str(value.name_hint)
    return type(value).__name__ if isinstance(value, relax.If) else str(value)
