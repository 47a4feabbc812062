"""The fields of --json are those of the reference: one that goes or changes its kind is seen here first."""

from __future__ import annotations

import json

import click
import pytest

from edgecost.cli.main import cli
from edgecost.cli.output import JSON_SCHEMA_VERSION
from tests.doc_scripts import load_script

reference = load_script("make_json_reference")
PAGE = reference.documented(reference.PAGE.read_text(encoding="utf-8"))
ANEW = "run: PYTHONPATH=. .venv/bin/python docs/make_json_reference.py"


def lies_below(path: str, other: str) -> bool:
    return path.startswith((f"{other}.", f"{other}[", f"{other}{{"))


def is_told(path: str, fields: dict[str, set[str]]) -> bool:
    """Whether fields have a path, or something below it; or do not know what lies above it."""
    if path in fields or any(lies_below(other, path) for other in fields):
        return True
    return any(lies_below(path, other) for other, kinds in fields.items() if not kinds)


@pytest.fixture(scope="module")
def seen():
    return reference.look()


def test_every_command_with_json_is_in_the_reference_or_has_a_reason_why_not():
    def with_json(command: click.Command, path: tuple[str, ...] = ()):
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                yield from with_json(child, (*path, name))
        elif "--json" in {option for parameter in command.params for option in parameter.opts}:
            yield " ".join(path)

    told = {reference.command_of(line) for line in reference.COMMANDS}
    assert told.isdisjoint(reference.NOT_RUN)
    assert told | set(reference.NOT_RUN) == set(with_json(cli))


def test_every_field_that_is_printed_is_documented(seen):
    assert list(PAGE) == list(seen), ANEW
    came = [(line, path) for line, fields in seen.items() for path in fields if not is_told(path, PAGE[line])]
    assert came == [], ANEW


def test_every_field_that_is_documented_is_printed(seen):
    gone = [(line, path) for line, fields in PAGE.items() for path in fields if not is_told(path, seen[line])]
    assert gone == [], f"a field that goes raises JSON_SCHEMA_VERSION; then {ANEW}"


def test_a_field_keeps_the_kinds_that_are_documented(seen):
    changed = [
        (line, path, kinds)
        for line, fields in seen.items()
        for path, kinds in fields.items()
        # What stands under a name differs by machine.
        if "{}" not in path and PAGE[line].get(path) and not kinds <= PAGE[line][path]
    ]
    assert changed == []


def test_the_version_of_the_objects_is_the_one_that_is_documented():
    assert f"`schema_version`, which is {JSON_SCHEMA_VERSION};" in reference.PAGE.read_text(encoding="utf-8")


def test_fields_are_told_by_their_paths():
    document = json.loads(
        '{"a": 1, "b": {"c": "x", "d": null}, "rows": {"x": 1}, "e": [{"f": true}, {"f": null, "g": []}], "h": [[1]]}'
    )
    assert reference.fields_of(document) == {
        "a": {"number"}, "b.c": {"text"}, "b.d": set(), "rows{}": {"number"}, "e[].f": {"true, false"},
        "e[].g[]": set(), "h[][]": {"number"},
    }  # fmt: skip
