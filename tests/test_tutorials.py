"""The tutorials are true: each page's commands run in their order in an empty folder, and print what the page shows.

How that is done, and what a page may say beside its blocks, stands in ``shown_commands.py``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.shown_commands import ROOT, is_printed, masked, play, run_steps, steps_of
from tests.stage_props import Props

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
LANGUAGES = ("sh", "python")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_run_and_print_what_it_shows(page: Path, tmp_path: Path, props: Props) -> None:
    steps = steps_of(page, LANGUAGES)
    if any("tvm" in step.body for step in steps) and importlib.util.find_spec("tvm") is None:
        pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'")
    if page.stem == "first-lut":
        props.quickstart(tmp_path)
    play(steps, tmp_path)


def test_a_page_whose_command_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    for name, body, expected in (("bad", "false", 1), ("good", "true", 0), ("may", "(exit 3)", 0), ("other", "no", 0)):
        marks = {"may": "<!-- may end with 3: it is busy -->\n", "other": "<!-- run with true instead of no: so -->\n"}
        page = tmp_path / f"{name}.md"
        page.write_text(f"{marks.get(name, '')}```sh\n{body}\n```\n", encoding="utf-8")
        (tmp_path / name).mkdir()
        assert run_steps(steps_of(page), tmp_path / name)[0] == expected
    lines = [masked(" at 2026-11-27T21:57:21 ─── 12.5 ms, of 0a1b2c3d4e "), masked("1 ms … 2 ms")]
    assert is_printed("at 2027-01-02T03:04:05  3 ms, of …", lines)
    assert is_printed("3.5 ms … 4.5 ms", lines)
    assert not is_printed("at 2027-01-02T03:04:05  3 µs, of 0a1b2c3d4e", lines)


def test_a_line_that_is_not_printed_and_a_stand_in_for_what_is_gone_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for place, text in enumerate(
        ("```sh\necho a\n```\n\n```text\nb\n```\n", "<!-- run with a instead of b: so -->\n```sh\necho a\n```\n")
    ):
        page.write_text(text, encoding="utf-8")
        (tmp_path / str(place)).mkdir()
        with pytest.raises(AssertionError):
            play(steps_of(page), tmp_path / str(place))
