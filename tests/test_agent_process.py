"""The process that ``edgecost agent run`` becomes: small, and without a trace of that in what it starts."""

from __future__ import annotations

import os

import pytest

from edgecost.cli.agent_process import main, with_one_arena


def test_an_agent_has_one_arena_and_its_runners_what_they_would_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {"PATH": "/bin"}
    for name, value in with_one_arena(before).items():
        monkeypatch.setenv(name, value)
    assert os.environ["MALLOC_ARENA_MAX"] == "1"
    assert main('{"home": "/nowhere/at/all", "until_idle_s": null, "cpus": [], "meter": "", "control": ""}') != 0
    assert "MALLOC_ARENA_MAX" not in os.environ
    assert not any(name.startswith("EDGECOST_AGENT_AR") for name in os.environ)


def test_what_the_keeper_has_set_stays_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_one_arena({"MALLOC_ARENA_MAX": "4"}) == {"MALLOC_ARENA_MAX": "4"}
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert main('{"home": "/nowhere/at/all", "until_idle_s": null, "cpus": [], "meter": "", "control": ""}') != 0
    assert os.environ["MALLOC_ARENA_MAX"] == "4"
