"""Write docs/reference/json-fields.md: what is in the object that each command prints with --json.

The commands are run for it, on a tiny space, a virtual board and stores that are filled here; nothing is measured on
this machine. A test fails when the page is stale.

Run it:  PYTHONPATH=. .venv/bin/python docs/make_json_reference.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import click

from edgecost.cli.main import cli, main
from edgecost.costmodels.lut_formats import native
from edgecost.costmodels.lut_formats.contract import checksum_lut
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.weights import complete
from tests.fleet_store import campaign, enrol
from tests.report_store import of_campaign, of_device

PAGE = Path(__file__).parent / "reference" / "json-fields.md"
TINY = Path(__file__).parent.parent / "tests" / "tiny.toml"
_LEAD = """\
# Fields of the JSON objects

What stands in the object that a command prints with `--json`. Every object has `schema_version`, which is 1; what that
promises, and how quantities, times and hashes are written, is told in [JSON](json.md). Any field may be `null` where a
thing is not known. `[]` is each element of a list, `{}` each value of an object whose keys are names: of statuses,
boards, kernels.

This page is generated (`docs/make_json_reference.py`) from what the commands print on a tiny space, a virtual board and
small stores; a field that had no value there says so. In capitals stand a table, the identity of a measurement and an
interpreter.
"""
_UNKNOWN = "not known here, or empty"
#: Paths of fields, each with the kinds of value that it had.
Fields: TypeAlias = dict[str, set[str]]
#: Objects whose keys are names and not fields.
_NAMED = frozenset(
    "arch attributes by_purpose by_status changes conditions coverage detail document environment failures_a failures_b"
    " host jobs labels left_out only_a only_b options protocols provenance purposes rails reasons rows sha256 sources"
    " verdicts versions".split()
)
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
#: Each in its turn: a command may need what one before it has left. In capitals is what the page calls by a word.
COMMANDS = """\
space list
space show tiny.toml
space check tiny.toml
kernels model.onnx
profile model.onnx --runtime virtual-nano --preset quick --energy --memory
campaign run --space tiny.toml --runtime virtual-nano
campaign list
train --space tiny.toml --runtime virtual-nano
predict model.onnx --runtime virtual-nano
models list
models show --runtime virtual-nano
models check --runtime virtual-nano
lut build --space tiny.toml --runtime virtual-nano --out luts
lut query TABLE --random 3
lut search TABLE --limit latency_ms=1e15 --generations 2 --population 8
lut diff TABLE TABLE
lut export TABLE --format ofa --out exported
lut formats
lut advise ofa.onnx --lut TABLE --limit latency_ms=1e15
campaign memory model.onnx --runtime virtual-nano
campaign energy model.onnx --runtime virtual-nano
split model.onnx --head simulator:core --tail simulator:systolic --link 20Mbit/s
simulate model.onnx --simulator core
proxy simulators
compare until=2026-01-01T00:00:12 since=2026-01-01T00:00:13 --db device.sqlite
report device board --db device.sqlite
report comparison until=2026-01-01T00:00:12 since=2026-01-01T00:00:13 --db device.sqlite
report campaign blocks@board --db campaign.sqlite
db info --failures --db device.sqlite
db show MEASUREMENT --db device.sqlite
db maintain --db device.sqlite
db export --parquet moved --db device.sqlite
db import moved --db copy.sqlite
db merge campaign.sqlite --db copy.sqlite
hub enroll --label pool=nano --db fleet.sqlite
hub token anna --role viewer --db fleet.sqlite
hub audit --db fleet.sqlite
devices list --db fleet.sqlite
devices show nano-1 --db fleet.sqlite
devices drain nano-1 --db fleet.sqlite
devices resume nano-1 --db fleet.sqlite
jobs list --db fleet.sqlite
jobs show 1 --db fleet.sqlite
jobs cancel 2 --db fleet.sqlite
jobs retry 2 --db fleet.sqlite
devices retire nano-1 --db fleet.sqlite
runtime list
runtime show ort
runtime add mine --interpreter PYTHON
runtime remove mine
control list
control show
config show
""".splitlines()
#: What has --json and is not run for this page, with the reason.
NOT_RUN = {
    "agent enroll": "it needs a hub",
    "agent status": "it needs a board that is enrolled",
    "audit additivity": "it takes minutes",
    "campaign kernels": "it takes minutes",
    "compile": "it needs a C++ compiler",
    "control apply": "it changes the machine",
    "control restore": "it changes the machine",
    "doctor": "it says of each machine what there is",
    "hub serve": "it goes on until it is stopped",
    "lut audit": "it takes minutes",
    "lut export-archs": "its object says which files it wrote, by format",
    "lut export-ops": "its object says which files it wrote, by format",
    "lut fill": "its object says which file it wrote, and how much",
    "lut price": "its object says which file it wrote, and how much",
    "onboard": "it takes minutes",
    "price": "it needs a model of a space",
    "probe": "it measures this machine",
    "proxy fit": "it takes minutes",
    "quickstart": "it measures this machine",
    "report model": "its `data` are what `models show` prints",
    "tune": "it takes minutes",
}
_TABLE = "ofa-mobilenetv3-w1-224.lut.json"
_WORDS = {"TABLE": _TABLE, "MEASUREMENT": f"{24:032x}", "PYTHON": sys.executable}


def page(found: Mapping[str, Fields]) -> str:
    """The whole page, from what ``look`` found."""
    sections = [_section(line, fields) for line, fields in found.items()]
    others = [f"| `edgecost {name}` | {why} |" for name, why in sorted(NOT_RUN.items())]
    head = ["## Commands that were not run for this page", "", "| command | why |", "|---|---|"]
    return "\n".join([_LEAD, *sections, *head, *others, ""])


def look() -> dict[str, Fields]:
    """Each command with the fields that it printed."""
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)):
        _fill(Path(folder))
        return {line: fields_of(_said(line)) for line in COMMANDS}


def command_of(line: str) -> str:
    """The command's own name, without what it was given."""
    words: list[str] = []
    command: click.Command = cli
    for word in line.split():
        if not isinstance(command, click.Group):
            break
        command = command.commands[word]
        words.append(word)
    return " ".join(words)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """The folder is home, data and state, and where commands are run; everything is as before afterwards."""
    before, place = dict(os.environ), Path.cwd()
    os.environ.update({name: str(folder) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")})
    os.environ["EDGECOST_DB"] = str(folder / "edgecost.sqlite")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)


def _fill(folder: Path) -> None:
    shutil.copy(TINY, folder / "tiny.toml")
    tiny, space = load_space(folder / "tiny.toml"), load_space("ofa-mobilenetv3")
    network = tiny.build(tiny.sample(1, seed=0))
    (folder / "model.onnx").write_bytes(complete(network.skeleton, network.weights))
    network = space.build(space.sample(1, seed=0))
    (folder / "ofa.onnx").write_bytes(complete(network.skeleton, network.weights))
    native.NativeFormat().write(checksum_lut(space), space, folder)
    of_device(folder / "device.sqlite").store.close()
    of_campaign(folder / "campaign.sqlite").store.close()
    with Store(folder / "fleet.sqlite") as store:
        campaign(store, 3)
        enrol(store, "nano-1")


def _section(line: str, fields: Fields) -> str:
    rows = [f"| `{path}` | {' or '.join(sorted(kinds)) or _UNKNOWN} |" for path, kinds in fields.items()]
    head = [f"## edgecost {command_of(line)}", "", f"`edgecost {line} --json`", "", "| field | is |", "|---|---|"]
    return "\n".join([*head, *rows, ""])


def _said(line: str) -> dict[str, object]:
    said, told = io.StringIO(), io.StringIO()
    words = [_WORDS.get(word, word) for word in shlex.split(line)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main([*words, "--json"])
    if not said.getvalue():
        raise SystemExit(f"edgecost {line} ended with {code}: {told.getvalue()}")
    found = json.loads(said.getvalue())
    assert found.pop("schema_version") == 1
    return found


def fields_of(document: Mapping[str, object]) -> Fields:
    """Every field with the kinds of value that it had; without any where it was null or empty."""
    found: Fields = {}
    for name, value in document.items():
        _note(name, name, value, found)
    # What was empty in one element and filled in another is told by what filled it.
    return {path: kinds for path, kinds in found.items() if kinds or not _has_below(path, found)}


def documented(text: str) -> dict[str, Fields]:
    """The commands and fields of a page."""
    found: dict[str, Fields] = {}
    for section in text.split("\n## edgecost ")[1:]:
        said = re.search(r"^`edgecost (.+) --json`$", section, re.MULTILINE)
        assert said is not None, section
        rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section.partition("\n## ")[0], re.MULTILINE)
        found[said[1]] = {path: set() if kinds == _UNKNOWN else set(kinds.split(" or ")) for path, kinds in rows}
    return found


def _has_below(path: str, found: Fields) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[", f"{path}{{")) for other in found)


def _note(path: str, name: str, value: object, found: Fields) -> None:
    """What a value is, under its path; of objects and lists what they hold."""
    if isinstance(value, dict) and value:
        is_named = name in _NAMED or not all(_FIELD.fullmatch(key) for key in value)
        for key, item in value.items():
            _note(f"{path}{{}}" if is_named else f"{path}.{key}", "" if is_named else key, item, found)
    elif isinstance(value, list):
        if not value:
            found.setdefault(f"{path}[]", set())
        for item in value:
            _note(f"{path}[]", "", item, found)
    else:
        kinds = found.setdefault(path, set())
        if value is not None and value != {}:
            kinds.add("true, false" if isinstance(value, bool) else "text" if isinstance(value, str) else "number")


if __name__ == "__main__":
    PAGE.write_text(page(look()), encoding="utf-8")
