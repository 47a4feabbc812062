"""Who may do what at the hub: every route by every role, tokens that end, and that no token is ever told."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from edgecost.db import Store
from edgecost.hub.app import make_app
from tests.fleet_store import Board, campaign, enrol, hello_of
from tests.hub_server import Hub, served

CONTENTS = b"model"
#: What stands in a path for each of its parameters.
PLACES = {
    "token": "0" * 32,
    "sha256": hashlib.sha256(CONTENTS).hexdigest(),
    "job_id": "1",
}
#: Who may, route by route; a new route belongs here too.
ALLOWED = {
    ("POST", "/v1/enroll"): {"nobody", "agent", "viewer", "operator", "admin"},
    ("POST", "/v1/agents/self/hello"): {"agent"},
    ("POST", "/v1/agents/self/bye"): {"agent"},
    ("POST", "/v1/leases"): {"agent"},
    ("POST", "/v1/leases/{token}/renew"): {"agent"},
    ("POST", "/v1/leases/{token}/release"): {"agent"},
    ("POST", "/v1/results"): {"agent"},
    ("PUT", "/v1/blobs/{sha256}"): {"operator", "admin"},
    ("GET", "/v1/blobs/{sha256}"): {"agent", "viewer", "operator", "admin"},
    ("GET", "/v1/devices"): {"viewer", "operator", "admin"},
    ("GET", "/v1/devices/{name}"): {"viewer", "operator", "admin"},
    ("POST", "/v1/devices/{name}/{verb}"): {"operator", "admin"},
    ("GET", "/v1/campaigns"): {"viewer", "operator", "admin"},
    ("POST", "/v1/campaigns/{name}/{verb}"): {"operator", "admin"},
    ("GET", "/v1/jobs"): {"viewer", "operator", "admin"},
    ("GET", "/v1/jobs/{job_id}"): {"viewer", "operator", "admin"},
    ("POST", "/v1/jobs/{job_id}/{verb}"): {"operator", "admin"},
    ("POST", "/v1/enrolment-codes"): {"admin"},
    ("GET", "/v1/audit"): {"admin"},
    ("GET", "/v1/health"): {"nobody", "agent", "viewer", "operator", "admin"},
}
BODIES = {"/v1/leases": {"wait_s": 0}, "/v1/enroll": {"code": "no"}}


@dataclass(frozen=True)
class Furnished:
    """A hub with a board, a campaign, and a token for every role."""

    hub: Hub
    store: Store
    board: Board
    tokens: dict[str, str]


@pytest.fixture
def furnished(tmp_path) -> Iterator[Furnished]:
    with Store(tmp_path / "store.sqlite") as store:
        board = enrol(store)
        campaign(store, 2)
        tokens = {role: store.fleet.make_token(role, role) for role in ("viewer", "operator", "admin")}
        with served(store) as hub:
            yield Furnished(hub, store, board, {"nobody": "", "agent": board.token, **tokens})


def routes(store: Store) -> list[tuple[str, str]]:
    paths = make_app(store).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def address(path: str) -> str:
    """A path with something that is there in the place of its parameters."""
    name, verb = ("test", "retry") if "campaigns" in path else ("nano-1", "resume")
    places = {**PLACES, "name": name, "verb": "retry" if "jobs" in path else verb}
    return re.sub(r"\{(\w+)\}", lambda found: places[found[1]], path)


def test_every_route_says_who_may(furnished: Furnished) -> None:
    assert set(routes(furnished.store)) == set(ALLOWED)


@pytest.mark.parametrize("role", ["nobody", "agent", "viewer", "operator", "admin"])
def test_each_role_may_what_it_may_and_nothing_else(furnished: Furnished, role: str) -> None:
    """401 and 403 before anything of the request is looked at; whatever else is said was said to somebody allowed."""
    let_through = set()
    for method, path in ALLOWED:
        raw = CONTENTS if method == "PUT" else None
        body = None if raw or method == "GET" else BODIES.get(path, {})
        reply = furnished.hub.ask(method, address(path), body, token=furnished.tokens[role], raw=raw)
        assert reply.status < 500, (method, path, reply)
        if reply.status not in (401, 403):
            let_through.add((method, path))
        else:
            assert reply.json["remedy"]
    assert let_through == {route for route, who in ALLOWED.items() if role in who}


def test_the_description_of_the_hub_says_the_same(furnished: Furnished) -> None:
    described = furnished.hub.ask("GET", "/v1/openapi.json").json["paths"]
    ranks = ("viewer", "operator", "admin")
    for (method, path), who in ALLOWED.items():
        said = set()
        security = described[path][method.lower()]["security"]
        for scheme in security:
            said |= {"agent"} if "agent" in scheme else set(ranks[ranks.index(scheme["person"][0]) :])
        assert said == who if security else "nobody" in who, (method, path)


def test_a_role_that_does_not_suffice_is_told_which_one_does(furnished: Furnished) -> None:
    refused = furnished.hub.ask("GET", "/v1/audit", token=furnished.tokens["operator"])
    assert refused.status == 403
    assert "admin" in refused.json["message"]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer nobody", "Bearer \xff", "x" * 9000])
def test_what_is_no_token_opens_nothing(furnished: Furnished, header: str) -> None:
    for path in ("/v1/devices", "/v1/blobs/" + "0" * 64):
        refused = furnished.hub.ask("GET", path, headers={"Authorization": header})
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"


def test_a_revoked_token_opens_nothing_any_more(furnished: Furnished) -> None:
    assert furnished.hub.ask("GET", "/v1/devices", token=furnished.tokens["viewer"]).status == 200
    furnished.store.fleet.revoke_token("viewer")
    assert furnished.hub.ask("GET", "/v1/devices", token=furnished.tokens["viewer"]).status == 401
    assert furnished.hub.ask("GET", "/v1/devices", token=furnished.tokens["operator"]).status == 200


def test_a_code_made_over_http_lets_a_board_in_with_its_labels(furnished: Furnished) -> None:
    admin = furnished.tokens["admin"]
    made = furnished.hub.ask("POST", "/v1/enrolment-codes", {"labels": {"pool": "pi"}, "name": "pi-1"}, token=admin)
    assert made.status == 201
    body = {
        "code": made.json["code"].lower(),  # as people type it
        "device": {"name": "raspberry", "identity": "pi", "description": "a Pi"},
        "agent_version": "0.1.0",
    }
    assert furnished.hub.ask("POST", "/v1/enroll", body).json["name"] == "pi-1"
    shown = furnished.hub.ask("GET", "/v1/devices/pi-1", token=admin).json
    assert shown["labels"] == {"pool": "pi"}


@pytest.mark.parametrize("labels", [{"name": "x"}, {"pool": "a b"}, {"a=b": "c"}, {"": "x"}])
def test_labels_that_no_selector_could_name_are_refused(furnished: Furnished, labels: dict[str, str]) -> None:
    refused = furnished.hub.ask(
        "POST", "/v1/enrolment-codes", {"labels": labels}, token=furnished.tokens["admin"]
    )  # fmt: skip
    assert refused.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/devices/nobody"),
        ("POST", "/v1/devices/nobody/drain"),
        ("POST", "/v1/campaigns/nothing/cancel"),
        ("GET", "/v1/jobs/99"),
        ("GET", "/v1/jobs?campaign=nothing"),
        ("GET", "/v1/nothing"),
    ],
)
def test_what_is_not_there_is_404_with_a_message(furnished: Furnished, method: str, path: str) -> None:
    refused = furnished.hub.ask(method, path, token=furnished.tokens["admin"])
    assert refused.status == 404
    assert refused.json["message"]


def test_jobs_come_in_pages(furnished: Furnished) -> None:
    viewer = furnished.tokens["viewer"]
    first = furnished.hub.ask("GET", "/v1/jobs?limit=1", token=viewer).json
    second = furnished.hub.ask("GET", f"/v1/jobs?limit=1&after={first[0]['id']}", token=viewer).json
    assert [one["label"] for one in first + second] == ["sigmoid_1", "sigmoid_2"]
    assert furnished.hub.ask("GET", f"/v1/jobs?after={second[0]['id']}", token=viewer).json == []
    assert furnished.hub.ask("GET", "/v1/jobs?state=done", token=viewer).json == []
    assert furnished.hub.ask("GET", "/v1/jobs?limit=1001", token=viewer).status == 422


def test_who_steers_stands_in_the_log(furnished: Furnished) -> None:
    operator, admin = furnished.tokens["operator"], furnished.tokens["admin"]
    assert furnished.hub.ask("POST", "/v1/devices/nano-1/drain", token=operator).json["state"] == "draining"
    assert furnished.hub.ask("POST", "/v1/jobs/1/cancel", token=operator).json == {"jobs": 1}
    newest = furnished.hub.ask("GET", "/v1/audit?limit=2", token=admin).json
    assert [(one["actor"], one["action"]) for one in newest] == [
        ("operator", "cancelled"), ("operator", "board draining"),
    ]  # fmt: skip


def test_no_token_and_no_code_is_ever_told_again(
    furnished: Furnished, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in an answer, nor in a log of any library at its most talkative."""
    caplog.set_level(logging.DEBUG)
    code = furnished.store.fleet.make_code({}, by="keeper").code
    board = furnished.board
    enrolment = {"code": code, "device": {"name": "x", "identity": "x", "description": ""}, "agent_version": "1"}
    taken_in = furnished.hub.ask("POST", "/v1/enroll", enrolment)
    assert taken_in.status == 201
    secrets = [code, taken_in.json["token"], *(token for token in furnished.tokens.values() if token)]
    said = [furnished.hub.ask("POST", "/v1/enroll", enrolment)]  # the code once more: refused
    said.append(furnished.hub.ask("POST", "/v1/agents/self/hello", hello_of(board.device), token=board.token))
    for token in secrets:
        for method, path in ALLOWED:
            if method == "GET":
                said.append(furnished.hub.ask(method, address(path), token=token))
    logged = caplog.text + "".join(capfd.readouterr())
    told = b"".join(reply.body + repr(reply.headers).encode() for reply in said)
    assert [secret for secret in secrets if secret.encode() in told or secret in logged] == []
