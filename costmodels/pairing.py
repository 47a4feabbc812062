"""Which attempts of side A stand against which of side B, and why the others stand alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from ..db import Store
from ..profiler.errors import UsageError
from ..profiler.records import RuntimeProfile
from .selections import KEYS, Attempt, Selection, inventory

#: A graph and the facets that must be equal, as sorted (name, value).
Key = tuple[str, tuple[tuple[str, str], ...]]

_PROFILE_FACETS = frozenset(field.name for field in fields(RuntimeProfile)) - {"graph_level"} | {"level"}
#: A selection that names the key lets these differ too: they follow from it, or mean nothing on the other side.
_BRINGS: Mapping[str, frozenset[str]] = {
    "runtime": _PROFILE_FACETS - {"threads", "precision"},
    "version": frozenset({"interpreter"}),
    "provider": frozenset({"options"}),
    "threads": frozenset({"affinity"}),
    "level": frozenset({"options"}),
    "option": frozenset({"options"}),
    "device": frozenset({"interpreter", "affinity"}),
    "profile": _PROFILE_FACETS,
}


@dataclass(frozen=True)
class Offer:
    """What a store has for a comparison: attempts with a usable latency, and the others."""

    usable: tuple[Attempt, ...]
    others: tuple[Attempt, ...]


@dataclass(frozen=True)
class Side:
    """The attempts that a selection matches."""

    letter: str
    selection: Selection
    usable: tuple[Attempt, ...]
    others: tuple[Attempt, ...]

    @staticmethod
    def of(letter: str, selection: Selection, offer: Offer) -> Side:
        """Select.

        Raises:
            UsageError: no attempt matches; the message names what could.
        """
        usable, others = (tuple(filter(selection.matches, some)) for some in (offer.usable, offer.others))
        if not usable and not others:
            raise UsageError(
                f"{letter} ({selection.text}) matches no measurement",
                remedy=f"what can be selected here: {inventory([*offer.usable, *offer.others])}",
            )
        return Side(letter, selection, usable, others)

    @property
    def failures(self) -> dict[str, int]:
        """Graphs without a usable latency on this side, by what became of the last attempt."""
        measured = {one.measurement.graph_hash for one in self.usable}
        last = {one.measurement.graph_hash: _outcome(one) for one in self.others}
        return dict(Counter(outcome for graph, outcome in last.items() if graph not in measured).most_common())

    def __str__(self) -> str:
        graphs = len({one.measurement.graph_hash for one in self.usable})
        settings = sorted({f"{one.device.name}: {one.profile.label}" for one in self.usable})
        shown = "; ".join(settings[:3]) + (f" and {len(settings) - 3} more" if len(settings) > 3 else "")
        failed = ", ".join(f"{n} {status}" for status, n in self.failures.items())
        parts = [f"{graphs} workload{'s' * (graphs != 1)}", f" ({shown})" if shown else ""]
        return (
            f"{self.letter} ({self.selection.text}) has {''.join(parts)}{f', without latency: {failed}' * bool(failed)}"
        )


@dataclass(frozen=True)
class Pair:
    """The usable attempts of one workload on both sides; ``key`` is the same when the sides are exchanged."""

    name: str
    detail: str
    key: str
    a: tuple[Attempt, ...]
    b: tuple[Attempt, ...]

    @property
    def shared(self) -> frozenset[str]:
        """Measurements that are on both sides."""
        ids = ({one.measurement.measurement_id for one in side} for side in (self.a, self.b))
        return frozenset.intersection(*map(frozenset, ids))


@dataclass(frozen=True)
class OneSided:
    """A workload with a latency on one side only. ``reason``: the status on the other, or why nothing is there."""

    name: str
    side: str
    reason: str


def read_attempts(store: Store, graph_hash: str | None, purposes: Collection[str] | None) -> Offer:
    """All attempts, without visits, oldest first, narrowed to a graph and to purposes.

    Args:
        graph_hash: the beginning of a hash; conversions of that graph to other precisions are kept too.

    Raises:
        UsageError: nothing is left, or several graphs begin so.
    """
    made = store.measurements(purposes=purposes, usable_only=False)
    usable = {measurement.measurement_id for measurement in store.measurements(purposes=purposes)}
    profiles = {name: store.profile(name) for name in {m.profile_hash for m in made}}
    workloads = {name: store.workload(name) for name in {m.graph_hash for m in made}}
    devices = {device.identity: device for device in store.devices()}
    attempts = []
    for measurement in made:
        profile, workload = profiles[measurement.profile_hash], workloads[measurement.graph_hash]
        # Foreign keys of the store: what a measurement refers to is there.
        assert profile is not None
        assert workload is not None
        attempts.append(Attempt(measurement, profile, devices[measurement.device_identity], workload.name))
    if graph_hash is not None:
        attempts = _of_graph(attempts, graph_hash)
    if not attempts:
        what = f" for {', '.join(sorted(purposes))}" if purposes is not None else ""
        raise UsageError(
            f"{store.url} holds no measurement{what}",
            remedy="measure first (edgecost profile MODEL.onnx), or name another database: --db",
        )
    return Offer(
        usable=tuple(one for one in attempts if one.measurement.measurement_id in usable),
        others=tuple(one for one in attempts if one.measurement.measurement_id not in usable),
    )


def _of_graph(attempts: Sequence[Attempt], beginning: str) -> list[Attempt]:
    found = {one.measurement.graph_hash: one for one in attempts if one.measurement.graph_hash.startswith(beginning)}
    if not found:
        raise UsageError(
            f"no measurement of a graph {beginning[:12]}…",
            remedy="measure it first: edgecost profile MODEL.onnx; `edgecost db info` says what there is",
        )
    if len(found) > 1:
        names = ", ".join(sorted(f"{graph[:12]} ({one.name})" for graph, one in found.items())[:5])
        raise UsageError(f"{len(found)} graphs begin with {beginning}: {names}", remedy="give more of the hash")
    (graph, model), *_ = found.items()
    return [
        one
        for one in attempts
        if one.measurement.graph_hash == graph
        or (one.base_name == model.base_name and one.precision != model.precision)
    ]


def pair_up(a: Side, b: Side) -> tuple[list[Pair], tuple[OneSided, ...]]:
    """Join the sides on the graph and on every facet that neither selection names.

    Where precision may differ, a graph without a counterpart is joined on its name without the precision, if that
    names one graph on each side.

    Raises:
        UsageError: no workload is common, or a side holds several quantities for one.
    """
    free = frozenset[str]().union(
        *(_BRINGS.get(key, frozenset()) | {key} for key in a.selection.keys | b.selection.keys)
    )
    groups_a, groups_b = _grouped(a.usable, free), _grouped(b.usable, free)
    matches = [(key, key) for key in groups_a if key in groups_b]
    if "precision" in free:
        matched = set(groups_a) & set(groups_b)
        matches += _by_name(_without(groups_a, matched), _without(groups_b, matched))
    for side, groups, place in ((a, groups_a, 0), (b, groups_b, 1)):
        for match in matches:
            _check_one_quantity(side, groups[match[place]])
    details = _details([key for key, _ in matches])
    pairs = [
        Pair(
            name=groups_a[left][0].name if left == right else groups_a[left][0].base_name,
            detail=details[left],
            key="/".join(sorted({left[0], right[0]})) + repr(left[1]),
            a=tuple(groups_a[left]),
            b=tuple(groups_b[right]),
        )
        for left, right in matches
    ]
    lonely_a, lonely_b = (
        _without(groups, {match[place] for match in matches}) for groups, place in ((groups_a, 0), (groups_b, 1))
    )
    alone = (*_alone(lonely_a, a, b, free), *_alone(lonely_b, b, a, free))
    if not pairs:
        raise _nothing_common(a, b, alone)
    return pairs, alone


Groups = dict[Key, list[Attempt]]


def _grouped(attempts: Sequence[Attempt], free: frozenset[str]) -> Groups:
    groups: Groups = defaultdict(list)
    for one in attempts:
        groups[_key(one, free)].append(one)
    return dict(groups)


def _key(attempt: Attempt, free: frozenset[str]) -> Key:
    fixed = {name: value for name, value in attempt.facets().items() if name not in free}
    return attempt.measurement.graph_hash, tuple(sorted(fixed.items()))


def _without(groups: Groups, keys: Collection[Key]) -> Groups:
    return {key: some for key, some in groups.items() if key not in keys}


def _by_name(groups_a: Groups, groups_b: Groups) -> list[tuple[Key, Key]]:
    """Keys of graphs that are one workload in two precisions. A name that two graphs of a side share joins nothing."""
    named: list[dict[tuple[str, tuple[tuple[str, str], ...]], list[Key]]] = []
    for groups in (groups_a, groups_b):
        names = defaultdict(list)
        for key, some in groups.items():
            names[some[0].base_name, key[1]].append(key)
        named.append(names)
    left, right = named
    return [
        (left[name][0], right[name][0])
        for name in left
        if len(left[name]) == 1
        and len(right.get(name, ())) == 1
        and groups_a[left[name][0]][0].precision != groups_b[right[name][0]][0].precision
    ]


def _check_one_quantity(side: Side, attempts: Sequence[Attempt]) -> None:
    """Latencies of different profiles or devices are never one number.

    Raises:
        UsageError: these are of several; the message says in what they differ.
    """
    varied = _varied([one.facets() | {"device": one.device.name} for one in attempts])
    if len({(one.device.identity, one.measurement.profile_hash) for one in attempts}) > 1:
        text = "; ".join(f"{name}: {', '.join(sorted(values))}" for name, values in varied.items())
        raise UsageError(
            f"{side.letter} ({side.selection.text}) holds several quantities for {attempts[0].name!r}: "
            f"{text or 'two devices of one name'}",
            remedy=f"narrow {side.letter} to one of them; keys such as profile=HASH and device=IDENTITY always do",
        )


def _varied(facets: Sequence[Mapping[str, str]]) -> dict[str, set[str]]:
    """Facets with more than one value, and the values."""
    values: dict[str, set[str]] = defaultdict(set)
    for some in facets:
        for name, value in some.items():
            values[name].add(value)
    return {name: some for name, some in values.items() if len(some) > 1}


def _details(keys: Sequence[Key]) -> dict[Key, str]:
    """What distinguishes rows beside the workload, for people: only the facets that vary between them."""
    varied = _varied([dict(key[1]) for key in keys])
    return {
        key: ", ".join(
            f"{name} {value[:12] if name == 'device' else value}" for name, value in key[1] if name in varied
        )
        for key in keys
    }


def _alone(groups: Groups, here: Side, there: Side, free: frozenset[str]) -> list[OneSided]:
    failed = {_key(one, free): _outcome(one) for one in there.others}
    failed_names = {(one.base_name, _key(one, free)[1]): _outcome(one) for one in there.others}
    elsewhere: dict[str, list[Attempt]] = defaultdict(list)
    for one in there.usable:
        elsewhere[one.measurement.graph_hash].append(one)
    usable_names = {(one.base_name, _key(one, free)[1]) for one in there.usable} if "precision" in free else set()
    found = []
    for key, some in groups.items():
        reason = failed.get(key)
        if reason is None and "precision" in free:
            reason = failed_names.get((some[0].base_name, key[1]))
        if reason is None and key[0] in elsewhere:
            reason = f"another {' and '.join(_nearest_difference(key, elsewhere[key[0]]))}"
        if reason is None and (some[0].base_name, key[1]) in usable_names:
            reason = "several graphs of this name"
        found.append(OneSided(some[0].name, here.letter, reason or "not measured"))
    return found


def _nearest_difference(key: Key, others: Sequence[Attempt]) -> list[str]:
    """The fewest facets in which one of the others differs from a group of the same graph."""
    fixed = dict(key[1])
    differences = ([n for n, v in one.facets().items() if n in fixed and fixed[n] != v] for one in others)
    return min(differences, key=len)


def _outcome(attempt: Attempt) -> str:
    """A latency that may not be used was retracted; else the status says it."""
    return "retracted" if attempt.measurement.status.has_latency else attempt.measurement.status.value


def _nothing_common(a: Side, b: Side, alone: Sequence[OneSided]) -> UsageError:
    others = Counter(one.reason for one in alone if one.reason.startswith("another "))
    if others:
        keys = others.most_common(1)[0][0].removeprefix("another ").split(" and ")
        named = ",".join(f"{key}=…" for key in keys) if set(keys) <= set(KEYS) else "profile=HASH"
        remedy = f"the same workloads differ in {' and '.join(keys)}: name that too to compare across it: {named}"
    else:
        remedy = "measure the same models on both sides, or widen a selection; `edgecost db info` says what there is"
    return UsageError(f"no workload has a latency on both sides: {a}; {b}", remedy=remedy)
