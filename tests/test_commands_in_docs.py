"""Every command that a page shows is run by a test, or says in the page why none can run it; and every one exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from edgecost.cli.main import cli
from tests import (
    test_front_pages,
    test_how_to_fleets,
    test_how_to_measuring,
    test_how_to_predicting,
    test_how_to_tables,
    test_tutorials,
)
from tests.command_lines import check, commands_in_text, commands_of
from tests.shown_commands import KNOWN_MARKS, PAGES, ROOT, Step, blocks_of, steps_of
from tests.test_docs import load_script

SCENES = {
    **test_front_pages.SCENES, **test_how_to_fleets.SCENES, **test_how_to_measuring.SCENES,
    **test_how_to_predicting.SCENES, **test_how_to_tables.SCENES,
}  # fmt: skip
TUTORIALS = {str(page.relative_to(ROOT)) for page in test_tutorials.PAGES}
#: What Markdown may call a shell, beside the one word that is used here.
OTHER_SHELLS = ("bash", "shell", "console", "shell-session", "zsh")
page_of_commands = load_script("make_command_table")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def shells(page: str) -> list[Step]:
    return [block for block in blocks_of(read(page)) if block.language == "sh"]


def test_every_page_with_commands_to_run_has_a_test_that_runs_it_and_no_test_is_left_without() -> None:
    with_commands = {page for page in PAGES if steps_of(ROOT / page)}
    assert with_commands == TUTORIALS | set(SCENES)


@pytest.mark.parametrize("page", PAGES)
def test_shell_is_called_sh_and_stands_in_blocks_at_the_margin(page: str) -> None:
    languages = {block.language for block in blocks_of(read(page))}
    assert not languages & set(OTHER_SHELLS)
    fences = re.findall(r"^ *```\w*\n(?:\$ )?(?:edgecost|make|pip|python3?) ", read(page), re.MULTILINE)
    assert len(fences) <= len(shells(page))
    without_blocks = re.sub(r"```\w*\n.*?^ *```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^(?: {4}|\t)(?:\$ )?(?:edgecost|make) ", without_blocks, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_before_a_block_is_understood_and_what_it_replaces_is_there(page: str) -> None:
    for block in shells(page):
        assert [mark for mark in block.marks if not any(form.fullmatch(mark) for form in KNOWN_MARKS)] == []
        assert block.command
        assert not (block.why_not and block.stand_ins)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_exists_with_its_options(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in shells(page):
        for words in commands_of(block.body):
            check(words)
    for words in commands_in_text(read(page)):
        check(words, is_whole=False)


def test_every_example_in_a_help_exists_with_its_options() -> None:
    examples = re.findall(r"^  Example:  (edgecost .*\n(?:  .+\n)*)", read("docs/reference/cli.md"), re.M)
    assert len(examples) > 50
    for example in examples:
        for words in commands_of(" ".join(example.split()).replace(" or: ", "; ")):
            check(words)


def test_a_command_that_is_gone_or_has_another_option_is_found() -> None:
    assert list(commands_of("sudo edgecost profile a.onnx 2>log && x=$(edgecost hub enroll) # edgecost no")) == [
        ["profile", "a.onnx"],
        ["hub", "enroll"],
    ]
    assert list(commands_in_text("`edgecost campaign run … --device x` and `make edgecost`")) == [["campaign", "run"]]
    for words in (["profiles"], ["profile", "a.onnx", "--thread", "x"], ["lut", "bild"], ["profile"]):
        with pytest.raises(click.UsageError):
            check(words)
    check(["profile"], is_whole=False)
    check(["profile", "MODEL", "--threads", "N"], is_whole=False)
    assert isinstance(cli, click.Group)


def test_the_table_of_commands_is_not_stale() -> None:
    assert page_of_commands.PAGE.read_text(encoding="utf-8") == page_of_commands.page(), (
        "run: PYTHONPATH=. .venv/bin/python docs/make_command_table.py"
    )


def test_the_table_of_commands_says_what_is_not_run_and_why() -> None:
    text = page_of_commands.page()
    for page in PAGES:
        for block in shells(page):
            if block.why_not:
                assert block.body.split()[0] in text
                assert block.why_not in text
