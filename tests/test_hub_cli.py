"""`edgecost hub`, `devices` and `jobs` at the terminal: tables, JSON, errors with what helps, and empty stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.db import Store
from edgecost.profiler.records import Status
from tests.fleet_store import Board, campaign, enrol, result

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store that every command of a test works on; it is empty."""
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    with Store(tmp_path / "test.sqlite") as opened:
        yield opened


@pytest.fixture
def board(store: Store) -> Board:
    """A board with a campaign of three jobs: one measured, one failed, one in its hands."""
    board = enrol(store, pool="nano", lab="zurich")
    campaign(store, 3)
    batch = store.fleet.lease(board.agent_id, 3, 60.0)
    assert batch is not None
    store.fleet.accept(board.agent_id, result(board, batch, 0))
    store.fleet.accept(board.agent_id, result(board, batch, 1, status=Status.SEGFAULT))
    return board


def run(captured: Captured, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main(list(arguments))
    out, err = captured.readouterr()
    return code, out, err


def as_json(captured: Captured, *arguments: str) -> dict:
    code, out, err = run(captured, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def row_of(out: str, name: str) -> list[str]:
    """The row of a table that begins with a name."""
    (line,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
    return line.split()


# Letting boards and people in.


def test_a_code_is_all_that_is_printed_and_how_to_use_it_is_said_beside(store: Store, capsys: Captured) -> None:
    code, out, err = run(capsys, "hub", "enroll", "--label", "pool=nano", "--name", "nano-7")
    assert code == 0
    assert f"edgecost agent enroll HUB_URL {out.strip()}" in err
    (entry,) = store.fleet.audit(1)
    assert (entry.action, entry.subject) == ("code made", "nano-7")


def test_a_code_as_json_says_how_long_it_may_be_used(capsys: Captured) -> None:
    said = as_json(capsys, "hub", "enroll", "--label", "pool=nano", "--label", "lab=zurich")
    assert said["labels"] == {"pool": "nano", "lab": "zurich"}
    assert said["expires_at"] > "2026"
    assert len(said["code"]) == 14


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--label", "pool"), "="),
        (("--label", "name=x"), "another key"),
        (("--label", "pool=a b"), "label"),
        (("--replace", "nobody"), "edgecost devices list"),
        (("--valid", "0"), "valid"),
    ],
)
def test_a_code_that_could_let_nobody_in_is_wrong_usage(
    store: Store, capsys: Captured, arguments: tuple[str, ...], word: str
) -> None:
    code, out, err = run(capsys, "hub", "enroll", *arguments)
    assert (code, out) == (2, "")
    assert word in err
    assert store.fleet.audit(10) == []


def test_the_name_of_a_board_that_is_there_is_taken_unless_it_is_replaced(board: Board, capsys: Captured) -> None:
    code, _, err = run(capsys, "hub", "enroll", "--name", "nano-1")
    assert code == 2
    assert "--replace nano-1" in err
    assert run(capsys, "hub", "enroll", "--replace", "nano-1")[0] == 0


def test_a_token_is_told_once_and_can_be_revoked(store: Store, capsys: Captured) -> None:
    code, out, err = run(capsys, "hub", "token", "ana", "--role", "operator")
    assert code == 0
    assert "once" in err
    assert out.strip() not in err
    assert store.fleet.person(out.strip()).role == "operator"
    assert run(capsys, "hub", "token", "ana")[0] == 2  # the name is taken
    assert run(capsys, "hub", "token", "ana", "--revoke")[:2] == (0, "")
    code, _, err = run(capsys, "hub", "token", "ana", "--revoke")
    assert code == 2
    assert "ana" in err


def test_a_token_as_json_has_its_role_and_a_revoked_one_no_token(capsys: Captured) -> None:
    made = as_json(capsys, "hub", "token", "ci")
    assert (made["role"], made["revoked"]) == ("viewer", False)
    gone = as_json(capsys, "hub", "token", "ci", "--revoke")
    assert gone["revoked"] is True
    assert "token" not in gone


def test_the_log_shows_who_did_what_newest_first(capsys: Captured) -> None:
    run(capsys, "hub", "token", "ana")
    run(capsys, "hub", "token", "ana", "--revoke")
    code, out, _ = run(capsys, "hub", "audit")
    assert code == 0
    assert out.index("token revoked") < out.index("token made")
    assert [one["action"] for one in as_json(capsys, "hub", "audit", "--limit", "1")["entries"]] == ["token revoked"]


def test_an_empty_log_is_no_failure(capsys: Captured) -> None:
    assert run(capsys, "hub", "audit")[0] == 0
    assert as_json(capsys, "hub", "audit")["entries"] == []


# Boards.


def test_no_boards_say_how_to_let_one_in(capsys: Captured) -> None:
    code, out, err = run(capsys, "devices", "list")
    assert (code, out) == (0, "")
    assert "edgecost hub enroll" in err
    assert as_json(capsys, "devices", "list")["devices"] == []


def test_boards_are_listed_with_what_they_hold_and_have_sent(board: Board, capsys: Captured) -> None:
    code, out, _ = run(capsys, "devices", "list")
    assert code == 0
    assert "lab=zurich, pool=nano" in out
    assert row_of(out, "nano-1")[-5:] == ["1", "1", "1", "0", "0"]  # holds, accepted, failed, late, killed
    (one,) = as_json(capsys, "devices", "list", "--select", "lab=zurich,runtime=ort")["devices"]
    assert (one["name"], one["jobs_held"], one["accepted"]) == ("nano-1", 1, 1)
    assert "token" not in json.dumps(one)


def test_a_selector_that_matches_nobody_is_told_and_one_that_is_none_is_wrong_usage(
    board: Board, capsys: Captured
) -> None:
    code, out, err = run(capsys, "devices", "list", "--select", "pool=pi")
    assert (code, out) == (0, "")
    assert "No board matches" in err
    code, _, err = run(capsys, "devices", "list", "--select", "pool==")
    assert code == 2
    assert "pool=nano" in err


def test_a_board_is_shown_by_its_name_or_the_beginning_of_its_id(board: Board, capsys: Captured) -> None:
    code, out, _ = run(capsys, "devices", "show", board.agent_id[:8])
    assert code == 0
    assert "device-nano-1" in out
    assert "1 accepted, 1 failed, 0 late, 0 deaths" in out
    assert as_json(capsys, "devices", "show", "nano-1")["labels"] == {"lab": "zurich", "pool": "nano"}


@pytest.mark.parametrize("verb", ["show", "drain", "resume", "retire"])
def test_a_board_that_is_not_there_is_wrong_usage(verb: str, capsys: Captured) -> None:
    code, out, err = run(capsys, "devices", verb, "nano-9")
    assert (code, out) == (2, "")
    assert "nano-9" in err
    assert "edgecost devices list" in err


def test_a_board_is_drained_resumed_and_retired_for_good(board: Board, store: Store, capsys: Captured) -> None:
    assert as_json(capsys, "devices", "drain", "nano-1") == {"schema_version": 1, "name": "nano-1", "state": "draining"}
    code, out, err = run(capsys, "devices", "resume", "nano-1")
    assert (code, out) == (0, "")
    assert "works again" in err
    assert run(capsys, "devices", "retire", "nano-1")[0] == 0
    assert [one.state for one in store.fleet.jobs()] == ["done", "pending", "pending"]  # what it held is free
    code, _, err = run(capsys, "devices", "resume", "nano-1")
    assert code == 2
    assert "--replace nano-1" in err


# Jobs.


def test_no_jobs_are_no_failure(capsys: Captured) -> None:
    assert run(capsys, "jobs", "list")[0] == 0
    assert as_json(capsys, "jobs", "list")["jobs"] == []


def test_jobs_are_listed_with_their_state_and_holder_in_pages(board: Board, capsys: Captured) -> None:
    code, out, err = run(capsys, "jobs", "list", "--limit", "3")
    assert code == 0
    assert "edgecost jobs list --after 3" in err
    assert row_of(out, "3")[:5] == ["3", "test", "sigmoid_3", "leased", "nano-1"]
    (one,) = as_json(capsys, "jobs", "list", "--state", "done", "--campaign", "test")["jobs"]
    assert one["label"] == "sigmoid_1"
    assert [one["id"] for one in as_json(capsys, "jobs", "list", "--after", "2")["jobs"]] == [3]


def test_a_job_is_shown_with_every_result_that_was_sent_for_it(board: Board, capsys: Captured) -> None:
    code, out, _ = run(capsys, "jobs", "show", "2")
    assert code == 0
    assert "1 of 3 attempts failed" in out
    assert "segfault" in out
    said = as_json(capsys, "jobs", "show", "1")
    assert said["job"]["state"] == "done"
    assert [(one["by"], one["verdict"]) for one in said["attempts"]] == [("nano-1", "accepted")]


def test_jobs_are_cancelled_and_tried_again(board: Board, capsys: Captured) -> None:
    code, out, err = run(capsys, "jobs", "cancel", "2", "3")
    assert (code, out) == (0, "")
    assert "2 jobs are cancelled" in err
    assert as_json(capsys, "jobs", "cancel", "--campaign", "test")["jobs"] == 0  # nothing is open any more
    assert as_json(capsys, "jobs", "retry", "--campaign", "test")["jobs"] == 2
    assert [one["state"] for one in as_json(capsys, "jobs", "list")["jobs"]] == ["done", "pending", "pending"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("show", "99"), "edgecost jobs list"),
        (("list", "--campaign", "nothing"), "edgecost campaign list"),
        (("cancel",), "edgecost jobs cancel 17 18"),
        (("retry", "1", "--campaign", "test"), "edgecost jobs retry 17 18"),
        (("cancel", "--campaign", "nothing"), "edgecost campaign list"),
        (("show", "0"), "0"),
    ],
)
def test_jobs_that_are_not_there_and_no_jobs_at_all_are_wrong_usage(
    capsys: Captured, arguments: tuple[str, ...], word: str
) -> None:
    code, out, err = run(capsys, "jobs", *arguments)
    assert (code, out) == (2, "")
    assert word in err


@pytest.mark.parametrize(
    "arguments", [("hub", "audit"), ("hub", "enroll"), ("hub", "serve"), ("devices", "list"), ("jobs", "list")]
)
def test_a_file_that_is_no_database_gets_the_code_of_databases(
    tmp_path: Path, capsys: Captured, arguments: tuple[str, ...]
) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"not a database, but long enough that it is read as one" * 10)
    code, out, err = run(capsys, *arguments, "--db", str(broken))
    assert (code, out) == (7, "")
    assert "is not a database" in err


def test_serving_in_the_clear_is_refused_before_the_database_is_made(tmp_path: Path, capsys: Captured) -> None:
    code, out, err = run(capsys, "hub", "serve", "--host", "0.0.0.0", "--db", str(tmp_path / "new.sqlite"))
    assert (code, out) == (2, "")
    assert "127.0.0.1 behind a proxy" in err
    assert not (tmp_path / "new.sqlite").exists()
