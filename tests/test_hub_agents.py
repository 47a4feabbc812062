"""What boards ask of a real hub over HTTP, on both engines: taken in, woken, kept, lost, and handed over once."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest

from edgecost.db import Store
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import decode
from edgecost.profiler.fleet_protocol import PROTOCOL_VERSION, Enrolment, Lease, Renewal, Result, WorkRequest
from edgecost.profiler.records import Device
from tests.fleet_store import Board, campaign, enrol, hello_of, result
from tests.hub_server import QUICK, Hub, Reply, served

#: Looks by itself so seldom that only a word can wake it within the test.
DEAF = replace(QUICK, poll_s=3600.0, reap_s=3600.0)
PAUSE = Event()


def until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again; what never comes fails the test, after a time that no machine needs."""
    for _ in range(6000):
        if holds():
            return
        PAUSE.wait(0.01)
    raise AssertionError(f"it never happened: {what}")


def device(name: str) -> Device:
    return Device(name, f"device-{name}", f"the board {name}")


def enrolment(code: str, name: str = "nano-1", **changes: object) -> Enrolment:
    return replace(Enrolment(code, device(name), "0.1.0"), **changes)


def ask_for_work(hub: Hub, board: Board, wait_s: float = 0.0, limit: int = 32, sign: str = "") -> Reply:
    asked = WorkRequest(wait_s, limit, {"sign": sign} if sign else {})
    return hub.ask("POST", "/v1/leases", asked, token=board.token)


def waits(store: Store, board: Board, sign: str) -> bool:
    """Whether a request for work with this sign has come in."""
    return store.fleet.agent(board.agent_id).agent.conditions.get("sign") == sign


def answer_to(board: Board, lease: Lease, at: int = 0) -> Result:
    """What a board sends for a job of its lease; ``fleet_store.result`` knows what a measurement looks like."""
    job = lease.jobs[at]
    held = SimpleNamespace(id=job.job_id, graph_hash=job.workload.graph_hash, purpose=job.purpose)
    return result(board, SimpleNamespace(jobs=[SimpleNamespace(job=held)], lease_token=lease.lease_token))


# Taken in.


def test_a_board_enrols_with_a_code_and_its_token_opens_the_hub(store: Store) -> None:
    code = store.fleet.make_code({"pool": "nano"}, by="keeper").code
    with served(store) as hub:
        taken_in = hub.ask("POST", "/v1/enroll", enrolment(code))
        assert taken_in.status == 201
        token = taken_in.json["token"]
        welcome = hub.ask("POST", "/v1/agents/self/hello", hello_of(device("nano-1"), "ort"), token=token)
        assert welcome.status == 200
        assert welcome.json["state"] == "active"
        assert welcome.json["lease_s"] == QUICK.lease_s
        assert hub.ask("POST", "/v1/agents/self/bye", token=token).status == 204


def test_a_wrong_code_is_refused_and_stands_in_the_log_without_what_was_guessed(store: Store) -> None:
    with served(store) as hub:
        refused = hub.ask("POST", "/v1/enroll", enrolment("WRON-GCOD-E234", "x" * 100_000))
    assert refused.status == 403
    assert "keeper" in refused.json["remedy"]
    (entry,) = store.fleet.audit(10)
    assert entry.action == "enrol refused"
    assert entry.address == "127.0.0.1"
    assert len(entry.actor) < 300  # a stranger does not fill the log
    assert "WRON" not in json.dumps([entry.actor, entry.subject, entry.detail])


def test_who_guesses_ten_times_has_to_wait_at_every_replica(store: Store, database_url: str) -> None:
    code = store.fleet.make_code({}, by="keeper").code
    with Store(database_url) as other, served(store) as one, served(other) as two:
        for at in range(10):
            assert (one, two)[at % 2].ask("POST", "/v1/enroll", enrolment("WRON-GCOD-E234")).status == 403
        for hub in (one, two):
            waiting = hub.ask("POST", "/v1/enroll", enrolment(code))
            assert waiting.status == 429
            assert int(waiting.headers["retry-after"]) > 0


def test_of_two_boards_with_one_code_one_is_taken_in(store: Store) -> None:
    code = store.fleet.make_code({}, by="keeper").code
    with served(store) as hub, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(hub.ask, "POST", "/v1/enroll", enrolment(code, name)) for name in ("nano-1", "nano-2")]
        assert sorted(one.result().status for one in asked) == [201, 403]


@pytest.mark.parametrize("version", [PROTOCOL_VERSION + 1, PROTOCOL_VERSION - 2, -(1 << 63)])
def test_a_protocol_that_is_not_spoken_any_more_asks_for_an_upgrade(store: Store, version: int) -> None:
    board, code = enrol(store), store.fleet.make_code({}, by="keeper").code
    with served(store) as hub:
        refused = hub.ask("POST", "/v1/enroll", enrolment(code, "nano-2", protocol=version))
        assert refused.status == 426
        assert "upgrade" in refused.json["remedy"]
        hello = replace(hello_of(board.device), protocol=version)
        assert hub.ask("POST", "/v1/agents/self/hello", hello, token=board.token).status == 426
        assert hub.ask("POST", "/v1/enroll", enrolment(code, "nano-2")).status == 201  # the code was not used up


def test_a_token_speaks_for_no_other_board(store: Store) -> None:
    board, other = enrol(store), enrol(store, "nano-2")
    with served(store) as hub:
        refused = hub.ask("POST", "/v1/agents/self/hello", hello_of(other.device), token=board.token)
        assert refused.status == 403
        assert "another board" in refused.json["message"]


def test_a_retired_board_is_nobody_and_a_draining_one_gets_no_more(store: Store) -> None:
    board = enrol(store)
    campaign(store, 1)
    with served(store) as hub:
        store.fleet.set_agent_state("nano-1", "draining")
        assert ask_for_work(hub, board).status == 409
        store.fleet.set_agent_state("nano-1", "retired")
        for path in ("/v1/leases", "/v1/agents/self/hello", "/v1/agents/self/bye", "/v1/results"):
            refused = hub.ask("POST", path, {}, token=board.token)
            assert refused.status == 401
            assert refused.headers["www-authenticate"] == "Bearer"


# Woken.


def test_who_finds_no_work_is_told_so_when_the_time_is_up(store: Store) -> None:
    board = enrol(store)
    with served(store) as hub:
        reply = ask_for_work(hub, board, wait_s=0.3)
        assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize("wanted", [{"wait_s": 51.0}, {"wait_s": -0.1}, {"limit": 0}, {"limit": 257}])
def test_nobody_waits_longer_or_takes_more_than_is_allowed(store: Store, wanted: dict[str, float]) -> None:
    board = enrol(store)
    with served(store) as hub:
        assert hub.ask("POST", "/v1/leases", wanted, token=board.token).status == 422


def test_who_waits_finds_a_new_campaign(store: Store) -> None:
    board = enrol(store)
    with served(store) as hub, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_for_work, hub, board, 50.0, 32, "here")
        until(lambda: waits(store, board, "here"), "the board waits")
        campaign(store, 3)
        lease = decode(Lease, asked.result().json)
        assert [job.label for job in lease.jobs] == ["sigmoid_1", "sigmoid_2", "sigmoid_3"]


def test_on_postgresql_a_word_from_another_process_wakes_who_waits(postgresql_url: str) -> None:
    """The hub looks by itself once an hour here: without the word the request ends with 204."""
    with Store(postgresql_url) as store:
        board = enrol(store)
        campaign(store, 1)
        store.fleet.cancel(campaign="test")
        with served(store, DEAF) as hub, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask_for_work, hub, board, 50.0, 32, "here")
            until(lambda: waits(store, board, "here"), "the board waits")
            command = ["jobs", "retry", "--campaign", "test", "--db", postgresql_url]
            subprocess.run([sys.executable, "-m", "edgecost", *command], check=True, cwd="/", capture_output=True)
            assert asked.result().status == 200


def test_on_postgresql_a_word_at_one_replica_wakes_who_waits_at_another(postgresql_url: str) -> None:
    with Store(postgresql_url) as store, Store(postgresql_url) as other:
        board = enrol(store)
        operator = store.fleet.make_token("ana", "operator")
        campaign(store, 1)
        store.fleet.cancel(campaign="test")
        with served(store, DEAF) as here, served(other, DEAF) as there, ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask_for_work, here, board, 50.0, 32, "here")
            until(lambda: waits(store, board, "here"), "the board waits")
            assert there.ask("POST", "/v1/campaigns/test/retry", token=operator).json == {"jobs": 1}
            assert asked.result().status == 200


# Gone.


def knock_and_leave(hub: Hub, store: Store, board: Board) -> None:
    """Ask for work with a long wait on a connection, and close it while the hub waits."""
    body = json.dumps({"wait_s": 50.0, "conditions": {"sign": "gone"}}).encode()
    head = f"POST /v1/leases HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {board.token}\r\n"
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: waits(store, board, "gone"), "the board waits")


def test_a_board_that_hung_up_is_served_no_work(store: Store) -> None:
    """Its jobs go to who is there, and nobody is blamed."""
    gone, there = enrol(store), enrol(store, "nano-2")
    with served(store) as hub:
        knock_and_leave(hub, store, gone)
        (job_id,) = campaign(store, 1)
        PAUSE.wait(5 * QUICK.poll_s)  # its request would have looked by now
        assert ask_for_work(hub, there, wait_s=20.0).status == 200
    job, _ = store.fleet.job(job_id)
    assert (job.holder, job.attempts) == ("nano-2", 0)


def test_a_lease_that_reached_nobody_runs_out_and_goes_to_another(store: Store) -> None:
    """A board that lost its power hangs up on nobody: its silence is a failed attempt."""
    silent, other = enrol(store), enrol(store, "nano-2")
    (job_id,) = campaign(store, 1)
    with served(store, HubSettings(lease_s=0.5, poll_s=0.1, reap_s=0.1)) as hub:
        lost = decode(Lease, ask_for_work(hub, silent).json)
        assert ask_for_work(hub, other, wait_s=50.0).status == 200
        job, _ = store.fleet.job(job_id)
        assert (job.holder, job.attempts) == ("nano-2", 1)
        renewed = hub.ask("POST", f"/v1/leases/{lost.lease_token}/renew", Renewal(), token=silent.token)
        assert (renewed.status, renewed.json["jobs"]) == (409, [])


# Kept, and given back.


def test_a_lease_is_renewed_while_anything_of_it_is_held(store: Store) -> None:
    board = enrol(store)
    jobs = campaign(store, 2)
    with served(store) as hub:
        path = f"/v1/leases/{decode(Lease, ask_for_work(hub, board).json).lease_token}/renew"
        assert hub.ask("POST", path, Renewal({"a": 3}), token=board.token).json["jobs"] == jobs
        store.fleet.cancel(job_ids=jobs[:1])
        held = hub.ask("POST", path, Renewal(), token=board.token)
        assert (held.status, held.json["jobs"]) == (200, jobs[1:])
        store.fleet.cancel(job_ids=jobs[1:])
        assert hub.ask("POST", path, Renewal(), token=board.token).status == 410


def test_a_lease_is_its_holders_alone(store: Store) -> None:
    board, other = enrol(store), enrol(store, "nano-2")
    jobs = campaign(store, 1)
    with served(store) as hub:
        path = f"/v1/leases/{decode(Lease, ask_for_work(hub, board).json).lease_token}"
        assert hub.ask("POST", f"{path}/renew", Renewal(), token=other.token).status == 409
        assert hub.ask("POST", f"{path}/release", {}, token=other.token).status == 204  # gives nothing back
        assert hub.ask("POST", f"{path}/renew", Renewal(), token=board.token).json["jobs"] == jobs


def test_what_is_given_back_wakes_who_waits(store: Store) -> None:
    board, other = enrol(store), enrol(store, "nano-2")
    campaign(store, 2)
    with served(store, DEAF) as hub, ThreadPoolExecutor(1) as pool:
        lease = decode(Lease, ask_for_work(hub, board).json)
        asked = pool.submit(ask_for_work, hub, other, 50.0, 32, "here")
        until(lambda: waits(store, other, "here"), "the other board waits")
        back = {"jobs": [lease.jobs[1].job_id], "reason": "too hot"}
        assert hub.ask("POST", f"/v1/leases/{lease.lease_token}/release", back, token=board.token).status == 204
        (job,) = decode(Lease, asked.result().json).jobs
        assert job.label == "sigmoid_2"
    assert any(entry.detail == {"why": "too hot"} for entry in store.fleet.audit(10))


# Handed over.


def test_a_result_is_recorded_once_and_gets_one_answer_however_often_it_is_sent(store: Store) -> None:
    board = enrol(store)
    campaign(store, 1)
    with served(store) as hub:
        sent = answer_to(board, decode(Lease, ask_for_work(hub, board).json))
        first = hub.ask("POST", "/v1/results", sent, token=board.token, packed=True)
        again = hub.ask("POST", "/v1/results", sent, token=board.token)
        assert (first.status, again.status) == (201, 200)
        assert first.json["verdict"] == "accepted"
        assert first.body == again.body


def test_copies_of_a_result_that_arrive_together_are_recorded_once(store: Store) -> None:
    board = enrol(store)
    (job_id,) = campaign(store, 1)
    with served(store) as hub, ThreadPoolExecutor(4) as pool:
        sent = answer_to(board, decode(Lease, ask_for_work(hub, board).json))
        asked = [pool.submit(hub.ask, "POST", "/v1/results", sent, token=board.token) for _ in range(4)]
        replies = [one.result() for one in asked]
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 201]
    assert len({reply.body for reply in replies}) == 1
    assert len(store.fleet.job(job_id)[1]) == 1


def test_the_second_number_of_a_job_is_kept_and_does_not_count(store: Store) -> None:
    slow, fast = enrol(store), enrol(store, "nano-2")
    (job_id,) = campaign(store, 1)
    with served(store) as hub:
        lost = decode(Lease, ask_for_work(hub, slow).json)
        hub.ask("POST", f"/v1/leases/{lost.lease_token}/release", {}, token=slow.token)
        won = decode(Lease, ask_for_work(hub, fast).json)
        assert hub.ask("POST", "/v1/results", answer_to(fast, won), token=fast.token).status == 201
        late = hub.ask("POST", "/v1/results", answer_to(slow, lost), token=slow.token)
        assert (late.status, late.json["verdict"]) == (409, "late")
    assert [one["verdict"] for one in store.fleet.job(job_id)[1]] == ["accepted", "late"]


def test_on_postgresql_a_result_that_does_not_fit_is_not_asked_for_again(postgresql_url: str) -> None:
    """503 would let the board send it for ever; 422 lets it put the result aside."""
    with Store(postgresql_url) as store, served(store) as hub:
        board = enrol(store)
        campaign(store, 1)
        sent = answer_to(board, decode(Lease, ask_for_work(hub, board).json))
        assert sent.measurement.latency is not None
        huge = replace(sent.measurement, latency=replace(sent.measurement.latency, visits=1 << 40))
        assert hub.ask("POST", "/v1/results", replace(sent, measurement=huge), token=board.token).status == 422
        assert hub.ask("POST", "/v1/results", sent, token=board.token).status == 201


# Models.


def test_a_blob_is_put_by_people_and_read_by_boards_and_people_in_ranges(store: Store) -> None:
    board = enrol(store)
    operator, viewer = store.fleet.make_token("ana", "operator"), store.fleet.make_token("vic", "viewer")
    contents = b"".join(hashlib.sha256(bytes([at])).digest() for at in range(256)) * 300  # 2.4 MB: three pieces
    path = f"/v1/blobs/{hashlib.sha256(contents).hexdigest()}"
    with served(store) as hub:
        assert hub.ask("GET", path, token=board.token).status == 404
        stored = hub.ask("PUT", path, raw=contents, token=operator)
        assert (stored.status, stored.json["size_bytes"]) == (201, len(contents))
        assert hub.ask("PUT", path, raw=contents, token=operator).status == 200
        for token in (board.token, viewer, operator):
            whole = hub.ask("GET", path, token=token)
            assert (whole.status, whole.body) == (200, contents)
        first = hub.ask("GET", path, token=board.token, headers={"Range": "bytes=0-1499999"})
        rest = hub.ask("GET", path, token=board.token, headers={"Range": "bytes=1500000-"})
        assert (first.status, rest.status) == (206, 206)
        assert first.body + rest.body == contents
        assert rest.headers["content-range"] == f"bytes 1500000-{len(contents) - 1}/{len(contents)}"
        for nonsense in ("bytes=9-3", f"bytes={len(contents)}-", "bytes=1-2,4-5", "lines=1-2"):
            assert hub.ask("GET", path, token=board.token, headers={"Range": nonsense}).body == contents


def test_a_blob_that_is_not_what_it_says_is_not_kept(store: Store) -> None:
    operator = store.fleet.make_token("ana", "operator")
    with served(store, replace(QUICK, blob_bytes=1000)) as hub:
        path = f"/v1/blobs/{hashlib.sha256(b'model').hexdigest()}"
        assert hub.ask("PUT", path, raw=b"mode", token=operator).status == 422
        assert hub.ask("PUT", path, raw=bytes(1001), token=operator).status == 413
        assert hub.ask("GET", path, token=operator).status == 404
        assert hub.ask("PUT", path, raw=b"model", token=operator).status == 201
        assert hub.ask("PUT", "/v1/blobs/MODEL", raw=b"model", token=operator).status == 422
