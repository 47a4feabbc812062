"""``edgecost campaign run --adaptive``: what is refused, what is printed, which exit code. Nothing is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.campaigns import _adaptive_exit_code, _show_adaptive
from edgecost.cli.main import main
from edgecost.costmodels.active.adaptive import AdaptiveOutcome, Batch
from edgecost.costmodels.active.lut_survey import Candidate
from edgecost.profiler.records import Status

TINY = Path(__file__).parent / "tiny.toml"
BATCH = Batch(20, 0.11, 17, (Candidate(3, "conv-a", "takes 9 % off", 0.09),), 1, 0.047, 0.006, 6.8, 2.0)
FOUND = AdaptiveOutcome(0.05, "target", 96, 28, 0, (), 0.025, 0.008, 25, (BATCH,), {Status.OK: 8}, 9.0)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adaptive"], "--adaptive needs --target"),
        (["--target", "5%"], "--target needs --adaptive"),
        (["--adaptive", "--target", "0%"], "nothing or all"),
        (["--adaptive", "--target", "100%"], "nothing or all"),
        (["--adaptive", "--target", "120%"], "no share"),
        (["--adaptive", "--target", "5"], "no share"),
        (["--adaptive", "--target", "-5%"], "no share"),
        (["--adaptive", "--target", "nan"], "no share"),
        (["--adaptive", "--target", "five"], "no share"),
    ],
)
def test_a_target_that_makes_no_sense_is_wrong_usage(options, message, capsys) -> None:
    assert main(["campaign", "run", "--space", str(TINY), *options]) == 2
    assert message in capsys.readouterr().err


def test_budget_and_number_of_cells_go_together(capsys) -> None:
    options = ["--adaptive", "--target", "5%", "--budget", "0s", "--cells", "3", "--json"]
    assert main(["campaign", "run", "--space", str(TINY), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["stopped_by"], document["cells_measured"], document["trace"]) == ("budget", 0, [])
    assert document["estimated_error"] is None


def show(capsys, found: AdaptiveOutcome, head: dict[str, str] | None = None) -> str:
    _show_adaptive(found, head, "tiny: this run", " --space tiny", " --resolution 64", " --threads 2")
    return capsys.readouterr().out


def test_the_end_says_what_was_measured_how_wrong_the_table_is_and_what_comes_next(capsys) -> None:
    out = show(capsys, FOUND)
    assert (
        "28 of 96 cells measured; the other 68 are predicted; estimated error 2.5 % (25 cells predicted unseen)" in out
    )
    train, build = (
        "edgecost train --space tiny --threads 2",
        "edgecost lut build --space tiny --resolution 64 --threads 2",
    )
    assert f"Next: {train} && {build}" in out
    assert "11.0 %" in out
    assert _adaptive_exit_code(FOUND) == 0


def test_several_batches_show_how_the_estimate_went_with_a_gap_where_there_was_none(capsys) -> None:
    batches = [replace(BATCH, estimated_error=error) for error in (None, 0.12, 0.08, 0.04)]
    assert "\n   █▅▁  the estimate, batch by batch\n" in show(capsys, replace(FOUND, batches=tuple(batches)))
    assert "batch by batch" not in show(capsys, FOUND)


def test_a_table_that_is_measured_whole_needs_no_predictor(capsys) -> None:
    whole = replace(FOUND, measured=96, stopped_by="complete")
    assert "Next: edgecost lut build --space tiny" in show(capsys, whole)
    assert _adaptive_exit_code(whole) == 0


def test_noise_above_the_target_is_told_and_has_its_own_exit_code(capsys) -> None:
    noisy = replace(FOUND, measured=96, stopped_by="complete", estimated_error=0.08, of_noise=0.08)
    out = show(capsys, noisy)
    assert "The noise of the measurements alone makes 8.0 %" in out
    assert _adaptive_exit_code(noisy) == 3


def test_a_run_that_was_cut_short_says_how_to_go_on(capsys) -> None:
    short = replace(FOUND, stopped_by="budget", estimated_error=0.11)
    assert "Run it again to go on." in show(capsys, short)
    assert _adaptive_exit_code(short) == 0


def test_cells_without_a_price_are_named_and_count_as_failed(capsys) -> None:
    lacking = replace(FOUND, stopped_by="complete", failed=1, unpriced=("linear-z",), estimated_error=None)
    out = show(capsys, lacking)
    assert "1 have no price: linear-z; estimated error unknown" in out
    assert "--failures" in out
    assert _adaptive_exit_code(lacking) == 1


def test_the_trace_is_in_the_json(capsys) -> None:
    document = json.loads(show(capsys, FOUND, {"space": "tiny"}))
    assert document["cells_predicted"] == 68
    (batch,) = document["trace"]
    assert batch["cells"] == [{"cell": "conv-a", "why": "takes 9 % off", "gain": 0.09}]
    assert (batch["estimated_error"], batch["mean_error"], batch["moved"]) == (0.11, 0.047, 0.006)
