"""The fleet's part of the store, on both engines: who may come in, who gets which job, and what becomes of a result."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from edgecost.db import Store
from edgecost.db.fleet.selector import Selector
from edgecost.profiler.errors import BadDocument, HubRefused, UsageError
from edgecost.profiler.fleet_protocol import Enrolment
from edgecost.profiler.records import Device, Status
from tests.fleet_store import campaign, enrol, hello_of, result

LEASE_S = 60.0


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("pool=nano", {"pool": ["nano"]}, True),
        ("pool=nano", {"pool": ["pi"]}, False),
        ("pool=nano", {}, False),
        ("pool!=nano", {}, True),
        ("pool=nano|pi", {"pool": ["pi"]}, True),
        ("pool=nano, runtime=ort", {"pool": ["nano"], "runtime": ["tvm", "ort"]}, True),
        ("pool=nano,runtime=ort", {"pool": ["nano"], "runtime": ["tvm"]}, False),
        ("nano-1", {"name": ["nano-1"]}, True),
        ("nano-1", {"name": ["nano-2"]}, False),
    ],
)
def test_a_selector_says_which_boards(text: str, labels: dict[str, list[str]], matches: bool) -> None:
    assert Selector.parse(text).matches(labels) is matches
    assert Selector.parse(str(Selector.parse(text))) == Selector.parse(text)


@pytest.mark.parametrize("text", ["", "=", "pool=", "pool==nano", "a b", "pool=nano,,", "pool=na no", "pool=|"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no condition"):
        Selector.parse(text)


def test_a_selector_names_its_runtime_only_if_there_is_one() -> None:
    assert Selector.parse("runtime=ort,pool=nano").runtime == "ort"
    assert Selector.parse("runtime=ort|tvm").runtime is None
    assert Selector.parse("pool=nano").runtime is None


def test_a_code_enrols_one_board_once(store: Store) -> None:
    fleet = store.fleet
    code = fleet.make_code({"pool": "nano"}, by="keeper").code
    first = fleet.enrol(Enrolment(code.lower(), Device("a", "device-a", ""), "1"), "10.0.0.1")
    assert fleet.authenticate(first.token) == (first.agent_id, "active")
    assert fleet.agent("a").agent.labels == {"pool": "nano"}
    with pytest.raises(HubRefused, match="unknown, used or too old"):
        fleet.enrol(Enrolment(code, Device("b", "device-b", ""), "1"), "10.0.0.2")


def test_a_code_that_is_too_old_enrols_nobody(store: Store) -> None:
    code = store.fleet.make_code({}, by="keeper", valid_s=-1.0).code
    with pytest.raises(HubRefused, match="too old"):
        store.fleet.enrol(Enrolment(code, Device("a", "device-a", ""), "1"), "10.0.0.1")
    assert store.fleet.agents() == []


def test_neither_tokens_nor_codes_stand_in_the_store(store: Store) -> None:
    code = store.fleet.make_code({}, by="keeper").code
    board = enrol(store)
    token = store.fleet.make_token("ana", "viewer")
    with store._database.read() as connection:
        tables = [str(connection.exec_driver_sql(f"SELECT * FROM {name}").all()) for name in TABLES_WITH_SECRETS]
    assert all(text != "[]" for text in tables)
    for secret in (code, board.token, token):
        assert all(secret not in text for text in tables)


TABLES_WITH_SECRETS = ("agent", "enrolment_code", "access_token", "audit_log")


def test_an_enrolled_board_is_replaced_only_by_a_code_that_says_so(store: Store) -> None:
    old = enrol(store, "nano-1")
    again = store.fleet.make_code({}, by="keeper").code
    with pytest.raises(HubRefused, match="enrolled as 'nano-1'"):
        store.fleet.enrol(Enrolment(again, old.device, "1"), "")
    new = Device("other", "device-other", "the new board")
    code = store.fleet.make_code({}, replaces="nano-1", by="keeper").code
    made = store.fleet.enrol(Enrolment(code, new, "1"), "")
    assert (made.agent_id, made.name) == (old.agent_id, "nano-1")
    with pytest.raises(HubRefused):
        store.fleet.authenticate(old.token)
    assert store.fleet.agent("nano-1").agent.device_identity == "device-other"
    assert store.fleet.agent("nano-1").agent.labels == {"pool": "nano"}


def test_a_refused_enrolment_leaves_its_code_usable(store: Store) -> None:
    board = enrol(store, "nano-1")
    code = store.fleet.make_code({}, by="keeper").code
    with pytest.raises(HubRefused):
        store.fleet.enrol(Enrolment(code, board.device, "1"), "")
    assert store.fleet.enrol(Enrolment(code, Device("b", "device-b", ""), "1"), "").name == "b"


def test_a_token_speaks_for_the_board_that_it_was_given_to(store: Store) -> None:
    board = enrol(store)
    with pytest.raises(HubRefused, match="another board"):
        store.fleet.hello(board.agent_id, hello_of(Device("x", "device-x", "")), "")


def test_people_have_roles_until_their_token_is_revoked(store: Store) -> None:
    token = store.fleet.make_token("ana", "operator", by="keeper")
    assert store.fleet.person(token).role == "operator"
    with pytest.raises(UsageError, match="there is a token 'ana' already"):
        store.fleet.make_token("ana", "admin")
    with pytest.raises(UsageError, match="no role 'king'"):
        store.fleet.make_token("bo", "king")
    store.fleet.revoke_token("ana")
    with pytest.raises(HubRefused):
        store.fleet.person(token)
    assert [entry.action for entry in store.fleet.audit(10)] == ["token revoked", "token made"]


def test_a_board_gets_the_jobs_that_are_meant_for_it(store: Store) -> None:
    board = enrol(store, pool="nano")
    campaign(store, 2, name="others", selector="pool=pi", priority=9)
    campaign(store, 2, name="local", selector=None, priority=9)
    campaign(store, 2, name="tvm", runtime="tvm", priority=9)
    mine = campaign(store, 3, name="mine", selector="pool=nano,runtime=ort")
    batch = store.fleet.lease(board.agent_id, 2, LEASE_S)
    assert batch is not None
    assert (batch.campaign, [held.job.id for held in batch.jobs]) == ("mine", mine[:2])
    rest = store.fleet.lease(board.agent_id, 9, LEASE_S)
    assert rest is not None
    assert [held.job.id for held in rest.jobs] == mine[2:]
    assert store.fleet.lease(board.agent_id, 9, LEASE_S) is None
    assert store.fleet.agent("nano-1").jobs_held == 3


def test_the_higher_priority_goes_first_and_is_not_mixed_with_others(store: Store) -> None:
    board = enrol(store)
    campaign(store, 2, name="low")
    high = campaign(store, 2, name="high", priority=5)
    batch = store.fleet.lease(board.agent_id, 9, LEASE_S)
    assert batch is not None
    assert [held.job.id for held in batch.jobs] == high


def test_a_draining_board_gets_no_more_and_a_retired_one_loses_what_it_holds(store: Store) -> None:
    board, other = enrol(store, "nano-1"), enrol(store, "nano-2")
    (job,) = campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    store.fleet.set_agent_state("nano-1", "draining")
    with pytest.raises(HubRefused, match="draining"):
        store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert store.fleet.renew(board.agent_id, batch.lease_token, LEASE_S).jobs == (job,)
    store.fleet.set_agent_state("nano-1", "retired")
    assert store.fleet.renew(board.agent_id, batch.lease_token, LEASE_S).jobs == ()
    with pytest.raises(HubRefused):
        store.fleet.authenticate(board.token)
    assert store.fleet.lease(other.agent_id, 1, LEASE_S) is not None
    with pytest.raises(UsageError, match="was retired"):
        store.fleet.set_agent_state("nano-1", "active")


def test_a_result_is_recorded_once_and_answered_the_same_when_it_is_sent_again(store: Store) -> None:
    board = enrol(store)
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    sent = result(board, batch)
    first, again = store.fleet.accept(board.agent_id, sent), store.fleet.accept(board.agent_id, sent)
    assert (first.verdict, first.job_state, first.is_new) == ("accepted", "done", True)
    assert again == replace(first, is_new=False)
    assert store.counts().measurements == 1


def test_the_second_result_of_a_job_is_kept_and_is_late(store: Store) -> None:
    slow, fast = enrol(store, "nano-1"), enrol(store, "nano-2")
    (job,) = campaign(store, 1)
    lost = store.fleet.lease(slow.agent_id, 1, -1.0)
    taken = store.fleet.lease(fast.agent_id, 1, LEASE_S)
    assert lost is not None
    assert taken is not None
    assert store.fleet.accept(fast.agent_id, result(fast, taken)).verdict == "accepted"
    assert store.fleet.accept(slow.agent_id, result(slow, lost)).verdict == "late"
    assert store.counts().measurements == 2
    _, attempts = store.fleet.job(job)
    assert [(one["by"], one["verdict"]) for one in attempts] == [("nano-2", "accepted"), ("nano-1", "late")]


def test_a_result_after_its_lease_ran_out_counts_if_nobody_was_faster(store: Store) -> None:
    board = enrol(store)
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, -1.0)
    assert batch is not None
    assert store.fleet.reap() == 1
    assert store.fleet.accept(board.agent_id, result(board, batch)).verdict == "accepted"


def test_a_lease_that_runs_out_counts_as_a_failed_attempt(store: Store) -> None:
    board = enrol(store)
    (job,) = campaign(store, 1)
    for _ in range(3):
        assert store.fleet.lease(board.agent_id, 1, -1.0) is not None
        store.fleet.reap()
    view, _ = store.fleet.job(job)
    assert (view.state, view.reason, view.attempts) == ("failed", "expired", 3)
    assert store.fleet.retry(job_ids=[job]) == 1
    assert store.fleet.lease(board.agent_id, 1, LEASE_S) is not None


def test_a_job_that_fails_is_tried_again_until_it_has_failed_too_often(store: Store) -> None:
    board = enrol(store)
    (job,) = campaign(store, 1)
    verdicts = []
    for _ in range(3):
        batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
        assert batch is not None
        told = store.fleet.accept(board.agent_id, result(board, batch, status=Status.SEGFAULT))
        verdicts.append((told.verdict, told.job_state))
    assert verdicts == [("attempt", "pending"), ("attempt", "pending"), ("attempt", "failed")]
    view, _ = store.fleet.job(job)
    assert (view.reason, view.message) == ("exhausted", "segfault")


def test_an_interruption_does_not_count_as_a_failure(store: Store) -> None:
    board = enrol(store)
    (job,) = campaign(store, 1)
    for _ in range(5):
        batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
        assert batch is not None
        store.fleet.accept(board.agent_id, result(board, batch, status=Status.INTERRUPTED))
    assert store.fleet.job(job)[0].attempts == 0


def test_a_job_that_kills_its_board_twice_is_given_to_nobody(store: Store) -> None:
    board = enrol(store)
    jobs = campaign(store, 3)
    batch = store.fleet.lease(board.agent_id, 3, LEASE_S)
    assert batch is not None
    for at in range(3):
        sent = result(board, batch, at, status=Status.INTERRUPTED, killed_by="power_loss")
        assert store.fleet.accept(board.agent_id, sent).verdict == "killed"
    # Whose fault it was is not known: from here on each is measured alone.
    alone = store.fleet.lease(board.agent_id, 3, LEASE_S)
    assert alone is not None
    assert [held.job.id for held in alone.jobs] == jobs[:1]
    told = store.fleet.accept(board.agent_id, result(board, alone, status=Status.INTERRUPTED, killed_by="power_loss"))
    assert told.job_state == "failed"
    assert store.fleet.job(jobs[0])[0].reason == "quarantined"
    innocent = store.fleet.lease(board.agent_id, 3, LEASE_S)
    assert innocent is not None
    assert [held.job.id for held in innocent.jobs] == jobs[1:2]
    assert store.fleet.accept(board.agent_id, result(board, innocent)).verdict == "accepted"


def test_what_is_cancelled_is_lost_to_its_holder_and_its_result_is_late(store: Store) -> None:
    board = enrol(store)
    campaign(store, 2)
    batch = store.fleet.lease(board.agent_id, 2, LEASE_S)
    assert batch is not None
    assert store.fleet.cancel(campaign="test", by="ana") == 2
    held = store.fleet.renew(board.agent_id, batch.lease_token, LEASE_S)
    assert (held.jobs, held.all_cancelled) == ((), True)
    assert store.fleet.accept(board.agent_id, result(board, batch)).verdict == "late"
    assert store.fleet.lease(board.agent_id, 2, LEASE_S) is None
    assert store.fleet.retry(campaign="test") == 2
    assert store.fleet.lease(board.agent_id, 2, LEASE_S) is not None


def test_what_is_given_back_is_free_at_once(store: Store) -> None:
    board, other = enrol(store, "nano-1"), enrol(store, "nano-2")
    jobs = campaign(store, 3)
    batch = store.fleet.lease(board.agent_id, 3, LEASE_S)
    assert batch is not None
    assert store.fleet.release(other.agent_id, batch.lease_token) == 0
    assert store.fleet.release(board.agent_id, batch.lease_token, jobs[1:]) == 2
    taken = store.fleet.lease(other.agent_id, 3, LEASE_S)
    assert taken is not None
    assert [held.job.id for held in taken.jobs] == jobs[1:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device_identity": "device-x"}, "its own measurements only"),
        ({"graph_hash": "0" * 64}, "another graph"),
        ({"environment_hash": "0" * 64}, "environment"),
        ({"profile_hash": "0" * 64}, "profile"),
        ({"purpose": "judge"}, "another graph or purpose"),
    ],
)
def test_a_result_that_does_not_fit_is_refused_whole(store: Store, change: dict[str, str], said: str) -> None:
    board = enrol(store)
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    sent = result(board, batch)
    with pytest.raises(BadDocument, match=said):
        store.fleet.accept(board.agent_id, replace(sent, measurement=replace(sent.measurement, **change)))
    assert store.counts().measurements == 0
    assert store.fleet.accept(board.agent_id, sent).verdict == "accepted"


def test_a_blob_comes_back_by_its_contents_and_a_garbled_one_is_not_kept(store: Store) -> None:
    contents = bytes(range(256)) * 9000  # 2.2 MiB: three pieces
    name = hashlib.sha256(contents).hexdigest()
    pieces = [contents[at : at + 70_000] for at in range(0, len(contents), 70_000)]
    put = {"media_type": "application/onnx", "by": "ana", "most_bytes": 1 << 22}
    with pytest.raises(BadDocument, match="another sha256"):
        store.fleet.put_blob(name, pieces[:-1], **put)
    assert store.fleet.blob_info(name) is None
    with pytest.raises(BadDocument, match="more than 2 MiB"):
        store.fleet.put_blob(name, pieces, **{**put, "most_bytes": 2 << 20})
    for _ in range(2):
        assert store.fleet.put_blob(name, pieces, **put).size_bytes == len(contents)
    assert store.fleet.read_blob(name, 0, len(contents)) == contents
    assert store.fleet.read_blob(name, 1_048_570, 12) == contents[1_048_570:1_048_582]
    assert store.fleet.read_blob(name, len(contents) - 3, 100) == contents[-3:]


def test_the_last_jobs_of_a_campaign_are_shared_out_among_the_boards_that_are_awake(store: Store) -> None:
    boards = [enrol(store, f"nano-{at}") for at in range(3)]
    campaign(store, 15)
    sizes = []
    for board in boards:
        batch = store.fleet.lease(board.agent_id, 32, LEASE_S)
        assert batch is not None
        sizes.append(len(batch.jobs))
    # A third of 15; a third of 10 is fewer than are worth the start of a runner.
    assert sizes == [5, 4, 4]


@pytest.mark.parametrize(
    "change",
    [{"median_ms": -1.0}, {"lo_ms": 2.0}, {"hi_ms": 0.5}, {"min_ms": 0.0}, {"visits": 0}, {"visits": -1}, {"runs": 3}],
    ids=str,
)
def test_numbers_that_are_no_latency_are_refused(store: Store, change: dict[str, float]) -> None:
    board = enrol(store)
    campaign(store, 1)
    batch = store.fleet.lease(board.agent_id, 1, LEASE_S)
    assert batch is not None
    sent = result(board, batch)
    assert sent.measurement.latency is not None
    wrong = replace(sent.measurement, latency=replace(sent.measurement.latency, **change))
    with pytest.raises(BadDocument, match="no latency is"):
        store.fleet.accept(board.agent_id, replace(sent, measurement=wrong))
    assert store.counts().measurements == 0


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_job_that_is_not_there_cannot_be_steered(store: Store, verb: str) -> None:
    (job,) = campaign(store, 1)
    with pytest.raises(UsageError, match=f"there is no job {job + 1}"):
        getattr(store.fleet, verb)(job_ids=[job, job + 1])
    assert store.fleet.job(job)[0].state == "pending"
