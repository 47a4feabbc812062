"""Walk the layers of a space file in order: what may be chosen at each place, and which cells that makes of it.

Where cells depend on the place's own choice alone, the place becomes a ``Position`` with a cell for each candidate;
where nothing is chosen, a ``Cell``; everywhere else a ``Slot`` over all choices that it depends on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .block_reader import BlockReader, block_fields
from .candidates import IDENTITY, LAYER_FIELDS, LAYER_ONLY, Candidate, Place, identity
from .cell import BlockSpec, Cell, CellKind, make_cell
from .cell_graphs import CELL_BLOCKS, read_cells
from .choices import Resolver, SharedChoice, at_offset
from .coding import Position, Stage
from .flow import Depending, Flow, one_shape
from .kinds import KINDS, Shape, Value
from .plan import Plan, Specs, output_of, parts_of, shape_behind
from .slots import CURRENT, Part, Slot
from .table import Table, Toml

#: Combinations of choices that one place may depend on: more is a mistake, or a space that needs another form.
_COMBINATIONS_MAX = 1_000_000

Step = Cell | Position | Slot


@dataclass(frozen=True)
class Kept:
    """A value that a layer keeps for a later one, and for which choices it is there."""

    register: str
    present: Depending[bool]


@dataclass
class LayerReader:
    """Walks the layers of one file.

    ``flow`` is what the next layer gets; ``earlier`` the value and shape before that, which cells of two inputs read.
    """

    table: Table
    blocks: BlockReader
    input_shape: Shape
    defaults: Mapping[str, Toml]
    sequence: list[Step] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    kept: dict[str, list[Kept]] = field(default_factory=dict)
    earlier: tuple[str, Shape] | None = None

    def __post_init__(self) -> None:
        self.flow: Flow = one_shape(self.input_shape)
        self.resolver = Resolver(self._shared())

    def read(self) -> None:
        """All layers.

        Raises:
            UsageError: a fault in the file, with file, layer, field and remedy.
        """
        layers = self.table.tables("layer")
        if not layers:
            raise self.table.error("layer", "is missing", "Describe at least one [[layer]].")
        seen: set[str] = set(self.resolver.shared)
        for number, data in enumerate(layers, 1):
            name = data.get("name")
            told = repr(name) if isinstance(name, str) else str(number)
            known = None if "parts" in data else LAYER_FIELDS
            layer = Table(f"{self.table.where}: layer {told}", {**self.defaults, **data}, known)
            if layer.text("name") in seen:
                raise layer.error("name", "stands twice", "Give every layer its own name.")
            seen.add(layer.text("name"))
            self._read_layer(layer)

    def candidates_of(self, place: int) -> Sequence[int]:
        """What may stand in an architecture at a position: its candidates, and -1 where depth can leave it out."""
        stage = next(stage for stage in self.stages if stage.start <= place < stage.stop)
        optional = place - stage.start >= stage.depths[0]
        return range(-1 if optional else 0, len(self.positions[place].names))

    def depending_scope(self, layer: Table, scope: Iterable[int]) -> tuple[int, ...]:
        """These positions, ascending.

        Raises:
            UsageError: they have too many combinations to be listed.
        """
        ordered = tuple(sorted(set(scope)))
        combinations = math.prod(len(self.candidates_of(place)) for place in ordered)
        if combinations > _COMBINATIONS_MAX:
            names = ", ".join(self.positions[place].label for place in ordered)
            raise layer.error(
                "name", f"depends on {combinations} combinations of {names}", "Let a layer look at fewer choices."
            )
        return ordered

    def _shared(self) -> dict[str, SharedChoice]:
        """The [[choice]] tables; each becomes a position without cells of its own."""
        shared: dict[str, SharedChoice] = {}
        for data in self.table.tables("choice") if "choice" in self.table.data else []:
            choice = Table(f"{self.table.where}: choice {data.get('name')!r}", data, ["name", "values"])
            name, values = choice.text("name"), data.get("values")
            if name in shared:
                raise choice.error("name", "stands twice", "Give every choice its own name.")
            if not isinstance(values, list) or not values:
                raise choice.error("values", f"is {values!r}", "List what may be chosen.")
            told = tuple(str(value) for value in values)
            if len(set(told)) < len(told):
                raise choice.error("values", "holds a value twice", "Give each once.")
            place = len(self.positions)
            self.positions.append(Position(name, 0, told, params=tuple(_plain({name: value}) for value in values)))
            self.stages.append(Stage(name, place, place + 1, (1,)))
            shared[name] = SharedChoice(place, tuple(values))
        return shared

    def _read_layer(self, layer: Table) -> None:
        if layer.data.get("block") == "input":
            self._read_input(layer)
            return
        if layer.data.get("block") in CELL_BLOCKS:
            read_cells(self, layer)
            return
        active = self._active(layer)
        depths = self._depths(layer) if active is None else (max(active.values()),)
        plans: list[Plan] = []
        first_alike = 1 if _has_stride(layer) else 0
        for offset in range(depths[-1]):
            plans.append(self._plan(layer, offset, active, plans[-1] if offset > first_alike else None))
            if offset >= depths[0] and self.flow != plans[-1].before:
                raise layer.error("depth", "leaves out a block that changes the shape", "Only the first one may.")
        start = len(self.positions)
        chosen = len(depths) > 1 or any(len(plan.candidates) > 1 for plan in plans)
        if chosen:
            for offset, plan in enumerate(plans):
                names = tuple(name for name, _ in plan.candidates)
                params = tuple(_plain(fields) for _, fields in plan.candidates)
                self.positions.append(Position(layer.text("name"), offset, names, params=params))
            self.stages.append(Stage(layer.text("name"), start, start + len(plans), depths))
        for offset, plan in enumerate(plans):
            self._emit(layer, offset, plan, start + offset if chosen else None)

    def _depths(self, layer: Table) -> tuple[int, ...]:
        """How many repetitions may be active, ascending; the last is how often the layer stands."""
        repeat = layer.integer("repeat", 1, minimum=1)
        depths = tuple(sorted({int(depth) for depth in layer.numbers("depth", [repeat])}))
        if depths[0] < 1 or depths[-1] != repeat:
            raise layer.error(
                "depth", f"{list(depths)} does not fit repeat = {repeat}", "The largest depth is the repeat."
            )
        return depths

    def _active(self, layer: Table) -> Depending[int] | None:
        """How many repetitions are active where a choice of the whole space says so; None where none does."""
        asked = Table(layer.where, {"depth": layer.data.get("depth", 0)})
        scope = tuple(self.resolver.scope(asked.data, {}))
        if not scope:
            return None
        return Depending.on(
            scope,
            self.candidates_of,
            lambda chosen: self.resolver.resolve(asked, chosen, {}).integer("depth", minimum=0),
        )

    def _read_input(self, layer: Table) -> None:
        """A further input of the network: a new chain begins, as a decoder does."""
        form = layer.one_of("form", ("ids", "tokens"))
        length = layer.integer("length", minimum=1)
        shape: Shape = (1, length) if form == "ids" else (1, length, layer.integer("channels", minimum=1))
        key = f"input-{'x'.join(str(size) for size in shape)}"
        cell = Cell(key, layer.text("name"), "fixed", BlockSpec("input", 0), shape, shape)
        self.sequence.append(Slot(layer.text("name"), (), {(): (Part(cell, ()),)}))
        self.flow = one_shape(shape)

    def _plan(self, layer: Table, offset: int, active: Depending[int] | None, before: Plan | None) -> Plan:
        """One repetition of a layer; moves ``flow`` on. ``before`` is the one before it, if they may be equal."""
        here = at_offset(layer.data, offset)
        repeats = before is not None and before.before == self.flow and here == layer.data
        if before is not None and repeats and active is None:
            return before
        kept = self._kept(layer)
        if before is not None and repeats:
            candidates, every = before.candidates, before.every
        else:
            place = Table(layer.where, here, layer.known)
            candidates = tuple(Place(layer, offset, self.flow, self.table, self._keeps_channels(place)).candidates())
            every = self._every(layer, offset, candidates, kept)
        reads = Depending.on(
            self.depending_scope(layer, [place for value in kept for place in value.present.scope]),
            self.candidates_of,
            lambda chosen: tuple(value.register for value in kept if value.present.at(chosen)) or (CURRENT,),
        )
        specs = every
        if active is not None:
            none = ((),) * len(candidates)
            specs = Depending.on(
                self.depending_scope(layer, [*every.scope, *active.scope]),
                self.candidates_of,
                lambda chosen: every.at(chosen) if offset < active.at(chosen) else none,
            )
        plan = Plan(candidates, self.flow, every, specs, reads)
        self.flow = Depending.on(
            self.depending_scope(layer, [*specs.scope, *self.flow.scope]),
            self.candidates_of,
            lambda chosen: shape_behind(layer, plan, chosen),
        ).reduced()
        return plan

    def _every(
        self, layer: Table, offset: int, candidates: tuple[Candidate, ...], kept: list[Kept]
    ) -> Depending[tuple[Specs, ...]]:
        """The blocks of each candidate, by the choices that they and what comes in depend on."""
        scope = self.depending_scope(
            layer,
            [
                *self.flow.scope,
                *(place for value in kept for place in value.present.scope),
                *(place for _, fields in candidates for place in self._scope_of(layer, fields, offset)),
            ],
        )

        def specs(chosen: dict[int, int]) -> tuple[Specs, ...]:
            inputs = sum(value.present.at(chosen) for value in kept)
            shape = self.flow.at(chosen)
            return tuple(self._specs(layer, fields, offset, chosen, shape, inputs) for _, fields in candidates)

        return Depending.on(scope, self.candidates_of, specs)

    def _kept(self, layer: Table) -> list[Kept]:
        if "reads" not in layer.data:
            return []
        name = layer.text("reads")
        if name not in self.kept:
            raise layer.error("reads", f"is {name!r}, which no layer keeps", f'Write keep = "{name}" in one before.')
        return self.kept[name]

    def _specs(
        self, layer: Table, fields: Mapping[str, Toml], offset: int, chosen: dict[int, int], shape: Shape, inputs: int
    ) -> Specs:
        """The blocks of one candidate, given what the whole space chooses."""
        if IDENTITY in fields:
            return (identity(shape[1]),)
        specs: list[BlockSpec] = []
        for part in self._parts(layer, fields, offset):
            given = self.resolver.resolve(part, chosen, fields if "parts" in layer.data else {})
            block = given.data.get("block")
            if isinstance(block, str) and block in KINDS and KINDS[block].joins:
                given = Table(given.where, {**given.data, KINDS[block].joins: inputs}, given.known)
            specs.append(self.blocks.read(given, shape, offset))
            shape = output_of(given, specs[-1], shape)
        return tuple(specs)

    def _parts(self, layer: Table, fields: Mapping[str, Toml], offset: int) -> list[Table]:
        """The tables of the blocks that a candidate consists of: its own, or the parts of the layer."""
        if "parts" not in layer.data:
            return [Table(layer.where, {key: value for key, value in fields.items() if key not in LAYER_ONLY})]
        made = []
        for number, data in enumerate(layer.tables("parts")):
            known = ["block", "scales", *block_fields(str(data.get("block")))]
            kept = {key: value for key, value in self.defaults.items() if key in known}
            made.append(Table(f"{layer.where}, part {number}", at_offset({**kept, **data}, offset), known))
        return made

    def _scope_of(self, layer: Table, fields: Mapping[str, Toml], offset: int) -> set[int]:
        if IDENTITY in fields:
            return set()
        local = fields if "parts" in layer.data else {}
        return {place for part in self._parts(layer, fields, offset) for place in self.resolver.scope(part.data, local)}

    def _keeps_channels(self, layer: Table) -> bool:
        if "out" not in layer.data:
            return True
        scope = self.depending_scope(layer, [*self.flow.scope, *self.resolver.scope(layer.data, {})])
        kept = Depending.on(
            scope,
            self.candidates_of,
            lambda chosen: self.blocks.out(self.resolver.resolve(layer, chosen, {})) == self.flow.at(chosen)[1],
        )
        return all(kept.values())

    def _emit(self, layer: Table, offset: int, plan: Plan, place: int | None) -> None:
        """Put a repetition into the sequence, in the simplest form that it has."""
        name, keep = layer.text("name"), layer.text("keep", "")
        own = not (plan.specs.scope or plan.before.scope or plan.reads.scope) and plan.reads.at({}) == (CURRENT,)
        if own and not keep and "adds" not in layer.data and all(len(specs) == 1 for specs in plan.specs.at({})):
            shape = plan.before.at({})
            kind: CellKind = "fixed" if place is None else "choice"
            cells = tuple(make_cell(name, kind, spec, shape) for (spec,) in plan.specs.at({}))
            if place is None:
                self.sequence.append(cells[0])
                return
            self.positions[place] = replace(
                self.positions[place], cells=cells, params=_unsaid(cells, self.positions[place].params)
            )
            self.sequence.append(self.positions[place])
            return
        scope = self.depending_scope(
            layer, [*plan.specs.scope, *plan.before.scope, *([] if place is None else [place])]
        )
        register = f"{keep}.{offset}" if keep else ""
        adds = layer.flag("adds", False)
        parts = Depending.on(
            scope, self.candidates_of, lambda chosen: parts_of(name, plan, chosen, place, register, adds)
        )
        self.sequence.append(Slot(f"{name}[{offset}]", parts.scope, parts.of))
        if keep:
            present = Depending(parts.scope, {key: bool(found) for key, found in parts.of.items()}).reduced()
            self.kept.setdefault(keep, []).append(Kept(register, present))
            self.earlier = (register, next(self.flow.values())) if keep == "earlier" else self.earlier


def _unsaid(cells: Sequence[Cell], params: Sequence[Mapping[str, Value]]) -> tuple[Mapping[str, Value], ...]:
    """What candidates say in the file and their cells do not: the ratio that channels were worked out from."""
    if any(cell.spec.block not in KINDS for cell in cells):
        return ()
    ratios = {name for cell in cells for name in block_fields(cell.spec.block) if name not in cell.params}
    return tuple({name: value for name, value in given.items() if name in ratios} for given in params)


def _has_stride(layer: Table) -> bool:
    """Whether the first repetition differs from the others."""
    return "stride" in layer.data or ("parts" in layer.data and any("stride" in part for part in layer.tables("parts")))


def _plain(fields: Mapping[str, Toml]) -> dict[str, Value]:
    """The fields that hold a value, not a list, a table or a look at another choice."""
    return {
        key: value
        for key, value in fields.items()
        if not isinstance(value, (list, dict)) and not (isinstance(value, str) and value.startswith("@"))
    }
