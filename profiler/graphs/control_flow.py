"""Take the control flow out of a graph: one workload for each way through its If nodes, with fixed trips for its loops.

A measurement runs one way through a graph; which one a data-dependent If takes with made-up inputs says nothing. Here
every way becomes a graph of its own with its probability, and the expected cost is Σ probability · cost, which the
caller computes. Inside a loop the cost is linear in the share of the trips that take a branch, so that an If in a body
may be treated in the same way: every trip takes the branch of the path.

What the runtime computes before it comes to an If stays: the condition, and values that only the other branch reads,
become outputs of the path's graph, because the runtime would otherwise drop them. Inside the bodies of loops nothing
can be kept in this manner; there they are dropped. A Scan has a number of trips that its inputs' shapes fix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath

import onnx
from onnx import TensorProto, helper, inliner

from ..errors import UsageError
from ..identity import hash_graph, is_structural, strip_model
from ..model_file import split_weights
from ..weights import Weight
from ..workload import Workload
from .graph_constants import Constants, infer_values
from .graph_edit import all_names, fix_trips, fresh_name, inline_branch, keep_computed, reads, subgraphs, unique_names

#: Ways through one graph; ten independent conditions would make a thousand, more than anybody measures.
PATHS_MAX = 64
#: A protobuf message ends at 2 GiB; beyond this, weights go into a file of their own.
FILE_BYTES_MAX = 1_500_000_000
_BRANCHES = (("then", "then_branch"), ("else", "else_branch"))


@dataclass(frozen=True)
class Path:
    """One way through a graph.

    Attributes:
        label: for people: ``If_3=then, Loop_7×12``; constant conditions are not mentioned.
        probability: of this way; those of all ways sum to 1. Ways of probability 0 are left out.
        workload: a graph in which every If is replaced by its branch and every loop runs a fixed number of times.
        branches: (node, ``then`` or ``else``) as taken, constant conditions included.
        trips: (node, trips) of the loops whose count was stated. A whole run of the workload already makes all trips:
            its cost is not to be multiplied.
    """

    label: str
    probability: float
    workload: Workload
    branches: tuple[tuple[str, str], ...] = ()
    trips: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class _State:
    """A model on its way to a path, and what was decided so far."""

    model: onnx.ModelProto
    probability: float = 1.0
    branches: tuple[tuple[str, str], ...] = ()
    trips: tuple[tuple[str, int], ...] = ()
    stated: tuple[str, ...] = ()
    settled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Site:
    """An If or Loop node: where it stands, and the graphs that enclose it, the main graph first."""

    scopes: tuple[onnx.GraphProto, ...]
    index: int

    @property
    def node(self) -> onnx.NodeProto:
        node: onnx.NodeProto = self.scopes[-1].node[self.index]
        return node


def paths(
    workload: Workload,
    probabilities: Mapping[str, float],
    trips: Mapping[str, int],
    scratch: FilePath | None = None,
) -> tuple[Path, ...]:
    """Every way through a graph that has a chance to be taken, the likeliest first.

    A node is called by its name, else ``<op>_<position in its graph>``; within a body ``<outer>/<attribute>/<name>``
    unless its own name is the only one in the model. Without control flow there is one path, of the workload itself.

    Args:
        probabilities: that an If takes its then-branch, by node. A constant condition needs none.
        trips: of a Loop, by node. A loop with a constant count and a condition that stays true needs none.
        scratch: a folder for the paths' models; needed when the workload is a file, whose weights they share.

    Raises:
        UsageError: a probability or a count is missing, out of range, contradicts a constant or names no such node;
            there are more than ``PATHS_MAX`` ways; or ``scratch`` is missing.
    """
    kinds = control_flow(workload)
    check_stated(kinds, probabilities, trips)
    if not kinds:
        return (Path("", 1.0, workload),)
    if workload.path and scratch is None:
        raise UsageError("the paths of a model file need a scratch folder for their models")
    model = _load(workload)
    _name_control_flow(model.graph)
    held = _hold(model)
    weights = (*workload.weights, *(_described(tensor) for tensor in held))
    unique_names(model.graph, {weight.name for weight in weights})
    finished = _Expansion(probabilities, trips, weights).run(_State(model))
    ordered = sorted(finished, key=lambda state: -state.probability)
    return tuple(_path(workload, state, held, place, scratch) for place, state in enumerate(ordered))


def control_flow(workload: Workload) -> dict[str, str]:
    """The If and Loop nodes of a workload by the names that ``paths`` knows them by; the values are their operators."""
    return _name_control_flow(_load(workload, external=False).graph)


def check_stated(kinds: Mapping[str, str], probabilities: Mapping[str, float], trips: Mapping[str, int]) -> None:
    """Refuse what is stated about nodes that are not among ``kinds``, as ``control_flow`` gives them, or out of range.

    Raises:
        UsageError: it names the statement.
    """
    for option, op, stated in (("branch", "If", probabilities), ("trips", "Loop", trips)):
        known = [name for name, kind in kinds.items() if kind == op]
        for name in stated:
            if name not in known:
                there = f"those there are: {', '.join(known)}" if known else f"it has no {op} at all"
                raise UsageError(f"the graph has no {op} named {name!r}", remedy=f"--{option}: {there}")
    for name, probability in probabilities.items():
        if not 0.0 <= probability <= 1.0:
            raise UsageError(f"--branch {name}={probability:g}: a probability lies between 0 and 1")
    for name, count in trips.items():
        if count < 0:
            raise UsageError(f"--trips {name}={count}: a loop cannot make fewer trips than none")


class _Expansion:
    def __init__(
        self, probabilities: Mapping[str, float], trips: Mapping[str, int], weights: tuple[Weight, ...]
    ) -> None:
        self.probabilities = probabilities
        self.trips = trips
        self.weights = weights
        self.used: set[str] = set()
        self.constant: dict[str, bool] = {}

    def run(self, state: _State) -> list[_State]:
        pending, done = [state], []
        while pending:
            state = pending.pop()
            site = _first_site(state.model.graph, state.settled)
            if site is None:
                done.append(state)
            elif site.node.op_type == "If":
                pending.extend(self._branch(state, site))
            else:
                pending.append(self._settle(state, site))
            if len(pending) + len(done) > PATHS_MAX:
                raise UsageError(
                    f"there are more than {PATHS_MAX} ways through this graph",
                    remedy="give probability 0 or 1 to conditions that hardly vary: --branch NAME=1",
                )
        self._check_constants()
        return done

    def _branch(self, state: _State, site: _Site) -> list[_State]:
        name = site.node.name
        values = infer_values(state.model, self.weights)
        condition = Constants(state.model, values).find(site.node.input[0])
        likely = self._likelihood(name, None if condition is None else bool(condition.all()))
        computed = {output for node in site.scopes[-1].node for output in node.output}
        # A runtime finds out for itself that a condition is constant, and drops what only the other branch needs.
        wanted = [value for value in reads(site.node) if value in computed] if condition is None else []
        made = []
        for (label, attribute), share in zip(_BRANCHES, (likely, 1.0 - likely), strict=True):
            if share <= 0.0:
                continue
            model = onnx.ModelProto()
            model.CopyFrom(state.model)
            copy = _first_site(model.graph, state.settled)
            assert copy is not None  # the same model has the same first site
            inline_branch(copy.scopes[-1], copy.index, attribute)
            if len(copy.scopes) == 1:
                keep_computed(model.graph, wanted, values)
            made.append(
                replace(
                    state,
                    model=model,
                    probability=state.probability * share,
                    branches=(*state.branches, (name, label)),
                    stated=state.stated if condition is not None else (*state.stated, f"{name}={label}"),
                )
            )
        return made

    def _likelihood(self, name: str, constant: bool | None) -> float:
        if constant is not None:
            self.constant[name] = constant
            return float(constant)
        if name not in self.probabilities:
            raise UsageError(
                f"which branch {name!r} takes depends on the data",
                remedy=f"state the probability of its then-branch: --branch {name}=P",
            )
        self.used.add(name)
        return self.probabilities[name]

    def _check_constants(self) -> None:
        """A condition may be constant on one way and depend on the data on another; only then is a statement needed."""
        for name, value in self.constant.items():
            stated = self.probabilities.get(name, float(value))
            if name not in self.used and stated != float(value):
                raise UsageError(
                    f"the condition of {name!r} is constant: it takes its {'then' if value else 'else'}-branch",
                    remedy=f"leave out --branch {name}={stated:g}",
                )

    def _settle(self, state: _State, site: _Site) -> _State:
        """Fix the trips of one loop, in place: a state is never looked at again after its successors are made."""
        node, graph = site.node, site.scopes[-1]
        values = infer_values(state.model, self.weights)
        constants = Constants(state.model, values)
        count = constants.find(node.input[0]) if node.input[0] else None
        name, stated = node.name, self.trips.get(node.name)
        settled = state.settled | {name}
        goes_on = _goes_on(node, constants)
        if count is not None and goes_on:
            if stated is not None and stated != int(count):
                raise UsageError(f"{name!r} makes {int(count)} trips", remedy=f"leave out --trips {name}={stated}")
            return replace(state, settled=settled)
        if stated is None:
            raise UsageError(
                f"how many trips {name!r} makes depends on the data", remedy=f"state how many: --trips {name}=N"
            )
        wanted = [value for value in node.input[:2] if value]
        fix_trips(
            node,
            graph,
            stated,
            all_names(state.model.graph) | {weight.name for weight in self.weights},
            goes_on=goes_on,
        )
        if len(site.scopes) == 1:
            keep_computed(graph, wanted, values)
        said = (*state.stated, f"{name}×{stated}")
        return replace(state, trips=(*state.trips, (name, stated)), stated=said, settled=settled)


def _first_site(graph: onnx.GraphProto, settled: frozenset[str]) -> _Site | None:
    """The first undecided If or Loop, an outer one before those in its bodies."""
    stack: list[tuple[onnx.GraphProto, ...]] = [(graph,)]
    while stack:
        scopes = stack.pop()
        inner = []
        for index, node in enumerate(scopes[-1].node):
            if _is_control(node) and node.name not in settled:
                return _Site(scopes, index)
            inner += [(*scopes, body) for _, body in subgraphs(node)]
        stack.extend(reversed(inner))
    return None


def _is_control(node: onnx.NodeProto) -> bool:
    return node.op_type in ("If", "Loop") and node.domain in ("", "ai.onnx")


def _goes_on(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether a loop's condition is true before it and after every trip."""
    (body,) = (graph for _, graph in subgraphs(node))
    first = node.input[1] if len(node.input) > 1 else ""
    if first:
        value = constants.find(first)
        if value is None or not value.all():
            return False
    producers = {output: inner for inner in body.node for output in inner.output}
    after = body.output[0].name
    while after in producers and producers[after].op_type in ("Identity", "Cast"):
        after = producers[after].input[0]
    if after == body.input[1].name:
        return True
    value = constants.find(after)
    return value is not None and bool(value.all())


def _load(workload: Workload, *, external: bool = True) -> onnx.ModelProto:
    """The model of a workload, from its file where it has one: the skeleton holds neither names nor weights.

    ``external`` also reads the weights that stand in files beside it.
    """
    model = (
        onnx.load(workload.path, load_external_data=external)
        if workload.path
        else onnx.load_from_string(workload.skeleton)
    )
    return inliner.inline_local_functions(model) if model.functions else model


def _name_control_flow(graph: onnx.GraphProto) -> dict[str, str]:
    """Give every If and Loop the name that it is called by; returns the operators by name."""
    found: list[tuple[str, onnx.NodeProto]] = []
    stack = [("", graph)]
    while stack:
        prefix, inner = stack.pop(0)
        for index, node in enumerate(inner.node):
            full = f"{prefix}{node.name or f'{node.op_type}_{index}'}"
            if _is_control(node):
                found.append((full, node))
            stack += [(f"{full}/{name.removesuffix('_branch')}/", body) for name, body in subgraphs(node)]
    names = Counter(node.name for _, node in found)
    taken: set[str] = set()
    for full, node in found:
        node.name = fresh_name(node.name if names[node.name] == 1 and node.name else full, taken)
    return {node.name: node.op_type for _, node in found}


def _path(workload: Workload, state: _State, held: list[TensorProto], place: int, scratch: FilePath | None) -> Path:
    label = ", ".join(state.stated)
    made = workload
    if state.branches or state.trips:
        model = state.model
        model.graph.initializer.extend(held)
        # What was written down for the shapes of values was written for all ways together.
        del model.graph.value_info[:]
        made = _workload(workload, f"{workload.name} [{label}]" if label else workload.name, model, place, scratch)
    return Path(label, state.probability, made, state.branches, state.trips)


def _workload(source: Workload, name: str, model: onnx.ModelProto, place: int, scratch: FilePath | None) -> Workload:
    if not source.path or scratch is None:
        skeleton, weights, path = strip_model(model), source.weights, ""
    else:
        target = scratch / f"{FilePath(source.path).stem}-path{place}.onnx"
        skeleton, weights = split_weights(model)
        large = model.ByteSize() > FILE_BYTES_MAX
        onnx.save(model, str(target), save_as_external_data=large, location=f"{target.name}.data")
        path = str(target.resolve())
    return Workload(name, source.kind, hash_graph(skeleton, weights), skeleton.SerializeToString(), weights, path)


def _hold(model: onnx.ModelProto) -> list[TensorProto]:
    """Take the weights out of a model, so that its copies are small; they go back in at the end."""
    held = [tensor for tensor in model.graph.initializer if not is_structural(tensor)]
    kept = [tensor for tensor in model.graph.initializer if is_structural(tensor)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return held


def _described(tensor: TensorProto) -> Weight:
    return Weight(tensor.name, tuple(tensor.dims), str(helper.tensor_dtype_to_np_dtype(tensor.data_type)), 0.0)
