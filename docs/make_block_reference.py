"""Write docs/reference/blocks.md from the kinds of block that a space file may name. A test fails when it is stale.

Run it:  .venv/bin/python docs/make_block_reference.py
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from edgecost.costmodels.spaces.block_reader import block_fields
from edgecost.costmodels.spaces.kinds import KINDS, FieldRule, Kind

PAGE = Path(__file__).parent / "reference" / "blocks.md"
_LEAD = """\
# The blocks of search spaces

What a layer of a [space file](../how-to/add-a-search-space.md) may name as its `block`, beside `conv`,
`inverted_residual`, `global_pool`, `linear` and `pooled_linear`. A field without a default must be given. It may be a
list to choose from, except one that decides the output's shape (`out`, `stride`, `width`, `channels`): that is for a
`[[choice]]`.
`edge_cell` and `node_cell` are cells that are graphs, `input` begins a further chain.
This page is generated (`docs/make_block_reference.py`).

"""
_INPUTS = {
    (4,): "an image",
    (3,): "tokens or a signal",
    (2,): "ids, or features",
    (3, 4): "several values of one shape",
}


def page() -> str:
    """The whole page."""
    return _LEAD + "\n".join(_section(name, kind) for name, kind in KINDS.items())


def _section(name: str, kind: Kind) -> str:
    module, builder = kind.builder.split(".")
    made = getattr(import_module(f"edgecost.profiler.graphs.{module}"), builder)
    about = " ".join((made.__doc__ or "").split("\n\n")[0].split())
    derived = [field for field in block_fields(name) if field not in kind.fields]
    lines = [f"## {name}", "", about, "", f"- Input: {_INPUTS[kind.ranks]}"]
    lines += [f"- `{field}`: {_rule(rule)}" for field, rule in kind.fields.items() if field != kind.joins]
    if derived:
        lines.append(f"- Instead of them: {', '.join(f'`{field}`' for field in derived)}")
    return "\n".join([*lines, ""])


def _rule(rule: FieldRule) -> str:
    if isinstance(rule, type):
        return "a whole number"
    if isinstance(rule, tuple):
        return ", ".join(f'`"{text}"`' for text in rule) + "; the first is the default"
    shown = str(rule).lower() if isinstance(rule, bool) else f'"{rule}"' if isinstance(rule, str) else str(rule)
    return f"`{shown}` unless given"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
