"""The asking side of the hub against one that answers well, badly, in part, or not at all."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.devices.backoff import ASKED_LONGEST_S, FIRST_S, LONGEST_S, Backoff
from edgecost.devices.hub_client import HubClient
from edgecost.devices.hub_connection import Place
from edgecost.devices.model_cache import ModelCache
from edgecost.profiler.errors import BadDocument, HubRefused, HubUnreachable, OutputError, UsageError
from edgecost.profiler.fleet_protocol import Enrolment, GiveBack, Problem, Renewal, WorkRequest
from edgecost.profiler.records import Device
from tests.little_hub import CODE, TOKEN, Handler, LittleHub, job, once, served

DEVICE = Device("nano", "identity", "a board")
ASK = WorkRequest(wait_s=0.0)
MODEL = bytes(range(256)) * 1024
NAME = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture
def hub() -> Iterator[LittleHub]:
    with served(LittleHub()) as found:
        yield found


@pytest.fixture
def client(hub: LittleHub) -> Iterator[HubClient]:
    made = HubClient(Place(hub.url), TOKEN)
    yield made
    made.close()


def test_a_board_is_enrolled_by_its_code_and_by_no_other(hub: LittleHub) -> None:
    client = HubClient(Place(hub.url))
    assert client.enroll(Enrolment(CODE, DEVICE, "0.1")).token == TOKEN
    with pytest.raises(HubRefused, match="unknown") as refused:
        client.enroll(Enrolment("other", DEVICE, "0.1"))
    assert (refused.value.status, refused.value.remedy) == (403, "ask for another")
    client.close()


def test_work_comes_as_a_lease_and_no_work_as_none(hub: LittleHub, client: HubClient) -> None:
    assert client.lease(ASK) is None
    hub.jobs = [job(1)]
    lease = client.lease(ASK)
    assert lease is not None
    assert lease.jobs == (job(1),)


def test_one_connection_serves_many_requests(hub: LittleHub, client: HubClient) -> None:
    ports: set[int] = set()

    def look(handler: Handler) -> bool:
        ports.add(handler.client_address[1])
        return False

    hub.pranks.append(look)
    for _ in range(5):
        client.lease(ASK)
        client.bye()
    assert len(ports) == 1


def test_a_stale_connection_is_opened_anew_without_a_word(hub: LittleHub, client: HubClient) -> None:
    client.bye()
    hub.pranks.append(once("/bye", Handler.cut))
    client.bye()
    assert hub.byes == 2


def test_an_answer_that_says_it_is_the_last_of_its_connection_is_followed_by_another_one(
    hub: LittleHub, client: HubClient
) -> None:
    def last_one(handler: Handler) -> bool:
        handler.raw(204, b"", {"Connection": "close"})
        return True

    # A hub that is about to end says so, and proxies that keep no connections say it each time.
    hub.pranks.append(last_one)
    for _ in range(3):
        client.bye()
    hub.pranks.clear()
    assert client.lease(ASK) is None


def test_a_first_connection_that_is_cut_is_unreachable(hub: LittleHub, client: HubClient) -> None:
    hub.pranks.append(once("/bye", Handler.cut))
    with pytest.raises(HubUnreachable):
        client.bye()
    client.bye()  # it recovers by itself


def test_what_is_lost_and_what_is_cancelled_is_an_answer_and_no_error(hub: LittleHub, client: HubClient) -> None:
    assert client.renew("a" * 32, Renewal()).jobs == ()
    hub.are_cancelled = True
    assert client.renew("a" * 32, Renewal()).jobs == ()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_hub_that_cannot_now_is_unreachable_and_says_for_how_long(
    hub: LittleHub, client: HubClient, status: int
) -> None:
    hub.pranks.append(once("/bye", lambda handler: handler.raw(status, b"<html>", {"Retry-After": "7"})))
    with pytest.raises(HubUnreachable) as away:
        client.bye()
    assert away.value.retry_after_s == 7.0


def test_a_date_to_come_back_at_is_not_believed(hub: LittleHub, client: HubClient) -> None:
    date = {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}
    hub.pranks.append(once("/bye", lambda handler: handler.raw(503, b"", date)))
    with pytest.raises(HubUnreachable) as away:
        client.bye()
    assert away.value.retry_after_s is None


@pytest.mark.parametrize("status", [401, 403, 404, 409, 413, 422, 426])
def test_a_refusal_carries_what_the_hub_says(hub: LittleHub, client: HubClient, status: int) -> None:
    hub.pranks.append(once("/hello", lambda handler: handler.say(status, Problem("not you", "ask the keeper"))))
    with pytest.raises(HubRefused, match="not you") as refused:
        client._record(object, client._ask("POST", "/v1/agents/self/hello", GiveBack()))
    assert (refused.value.status, refused.value.remedy) == (status, "ask the keeper")


def test_a_redirect_is_refused_since_the_token_is_for_one_host(hub: LittleHub, client: HubClient) -> None:
    hub.pranks.append(once("/bye", lambda handler: handler.raw(301, b"", {"Location": "http://elsewhere/"})))
    with pytest.raises(HubRefused, match="elsewhere"):
        client.bye()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"lease_token": 1}', b"\xff"])
def test_an_answer_that_is_none_is_a_bad_document(hub: LittleHub, client: HubClient, body: bytes) -> None:
    hub.pranks.append(once("/leases", lambda handler: handler.raw(200, body, {})))
    with pytest.raises(BadDocument):
        client.lease(ASK)
    client.bye()


def test_a_lease_that_cannot_be_read_is_given_back(hub: LittleHub, client: HubClient) -> None:
    token = "b" * 32
    body = f'{{"lease_token": "{token}", "new_field": 1}}'.encode()
    hub.pranks.append(once("/leases", lambda handler: handler.raw(200, body, {})))
    with pytest.raises(BadDocument):
        client.lease(ASK)
    assert [given for given, _ in hub.given_back] == [token]


def test_an_answer_that_breaks_off_is_unreachable(hub: LittleHub, client: HubClient) -> None:
    def half(handler: Handler) -> None:
        handler.raw(200, b'{"a', {}, length=100)
        handler.cut()

    hub.pranks.append(once("/leases", half))
    with pytest.raises(HubUnreachable):
        client.lease(ASK)
    assert client.lease(ASK) is None


def test_large_bodies_are_packed_and_small_ones_are_not(hub: LittleHub, client: HubClient) -> None:
    packed: list[str | None] = []
    hub.pranks.append(lambda handler: bool(packed.append(handler.headers.get("Content-Encoding"))))
    client.release("a" * 32, GiveBack(reason="x"))
    client.release("a" * 32, GiveBack(reason="x" * 5000))
    assert packed == [None, "gzip"]
    assert [len(given.reason) for _, given in hub.given_back] == [1, 5000]


def test_another_thread_ends_a_long_wait(hub: LittleHub, client: HubClient) -> None:
    raised: list[HubUnreachable] = []

    def ask() -> None:
        try:
            client.lease(WorkRequest(wait_s=50.0))
        except HubUnreachable as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    hub.until(lambda: hub.heard)
    client.abort()
    thread.join(30)
    assert not thread.is_alive()
    assert raised
    with pytest.raises(HubUnreachable):
        client.bye()


def test_nobody_there_is_unreachable() -> None:
    with served(LittleHub()) as gone:
        pass
    with pytest.raises(HubUnreachable, match="refused"):
        HubClient(Place(gone.url), TOKEN).bye()


@pytest.mark.parametrize("url", ["http://hub.example", "http://192.168.1.4:80", "http://[2001:db8::1]/"])
def test_plain_http_to_another_machine_must_be_asked_for(url: str) -> None:
    with pytest.raises(UsageError, match="in the clear"):
        Place(url)
    assert Place(url, allow_plain_http=True).url == url


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://hub.example"])
def test_loopback_and_tls_need_no_permission(url: str) -> None:
    assert Place(url).url == url


@pytest.mark.parametrize("url", ["hub.example", "ftp://hub", "https://", "https://hub:port", "https://u:p@hub", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        Place(url)


def test_a_model_is_fetched_once_and_then_comes_from_the_cache(
    hub: LittleHub, client: HubClient, tmp_path: Path
) -> None:
    hub.blobs[NAME] = MODEL
    cache = ModelCache(tmp_path)
    assert client.blob(NAME, cache, 1 << 20) == MODEL
    assert client.blob(NAME, cache, 1 << 20) == MODEL
    assert len(hub.heard) == 1
    assert cache.path(NAME).read_bytes() == MODEL


def test_a_model_that_was_cut_off_goes_on_where_it_stopped(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    hub.blobs[NAME] = MODEL
    asked: list[str | None] = []

    def half(handler: Handler) -> None:
        handler.raw(200, MODEL[:100_000], {}, length=len(MODEL))
        handler.cut()

    hub.pranks += [lambda handler: bool(asked.append(handler.headers.get("Range"))), once(NAME, half)]
    cache = ModelCache(tmp_path)
    with pytest.raises(HubUnreachable):
        client.blob(NAME, cache, 1 << 20)
    assert client.blob(NAME, cache, 1 << 20) == MODEL
    assert asked == [None, "bytes=100000-"]


def test_a_model_of_another_sha256_is_not_kept(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    hub.blobs[NAME] = MODEL[:-1] + b"x"
    cache = ModelCache(tmp_path)
    with pytest.raises(BadDocument, match="not the model"):
        client.blob(NAME, cache, 1 << 20)
    assert list(tmp_path.iterdir()) == []
    hub.blobs[NAME] = MODEL
    assert client.blob(NAME, cache, 1 << 20) == MODEL


def test_a_file_that_a_power_cut_garbled_is_fetched_anew(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    hub.blobs[NAME] = MODEL
    (tmp_path / NAME).write_bytes(bytes(len(MODEL)))
    assert client.blob(NAME, ModelCache(tmp_path), 1 << 20) == MODEL


def test_a_model_that_is_too_large_is_not_fetched_to_its_end(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    hub.blobs[NAME] = MODEL
    with pytest.raises(BadDocument, match="more than 1,000 bytes"):
        client.blob(NAME, ModelCache(tmp_path), 1000)
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_longest_makes_room(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    models = [bytes([at]) * 1000 for at in range(4)]
    names = [hashlib.sha256(model).hexdigest() for model in models]
    hub.blobs |= dict(zip(names, models, strict=True))
    cache = ModelCache(tmp_path, cap_bytes=2500)
    for name in (names[0], names[1], names[0], names[2]):
        client.blob(name, cache, 1 << 20)
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[2]}


def test_a_folder_that_cannot_be_written_is_told(hub: LittleHub, client: HubClient, tmp_path: Path) -> None:
    hub.blobs[NAME] = MODEL
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputError):
        client.blob(NAME, ModelCache(tmp_path / "models"), 1 << 20)


def test_tls_is_verified_by_the_authority_that_was_given(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, "-keyout", str(key),
         "-out", str(certificate)], capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"openssl makes no certificate: {made.stderr!r}")
    with served_by_tls(LittleHub(), certificate, key) as hub:
        url = hub.url.replace("http:", "https:")
        with closing(HubClient(Place(url, str(certificate)), TOKEN)) as client:
            client.bye()
        with pytest.raises(HubUnreachable, match="not trusted") as refused:
            HubClient(Place(url), TOKEN).bye()
        assert "--ca" in refused.value.remedy
    assert hub.byes == 1


class served_by_tls:  # noqa: N801  # used like the function it wraps
    """The little hub behind TLS."""

    def __init__(self, hub: LittleHub, certificate: Path, key: Path) -> None:
        from tests.little_hub import Server

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.hub = hub
        hub.port = self.server.server_address[1]

    def __enter__(self) -> LittleHub:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self.server.hub

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@given(st.lists(st.none() | st.floats(0, 1e5), min_size=1, max_size=20), st.floats(0, 1))
def test_pauses_grow_up_to_the_longest_and_honour_what_is_asked(asked: list[float | None], share: float) -> None:
    clock = Clock()
    backoff = Backoff(clock.sleep, clock=lambda: clock.now_s, chance=lambda low, high: low + share * (high - low))
    for at, wish in enumerate(asked):
        pause_s = backoff.pause(wish)
        wanted_s = max(FIRST_S, share * min(LONGEST_S, FIRST_S * 2**at))
        assert pause_s == pytest.approx(max(wanted_s, min(wish or 0.0, ASKED_LONGEST_S)))
    assert len(clock.slept) == len(asked)


def test_after_a_success_or_a_long_silence_a_failure_is_a_first_one() -> None:
    clock = Clock()
    backoff = Backoff(clock.sleep, clock=lambda: clock.now_s, chance=lambda low, high: high)
    assert [backoff.pause() for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]
    backoff.succeeded()
    assert backoff.pause() == 1.0
    backoff.pause()
    clock.now_s += LONGEST_S + 1
    assert backoff.pause() == 1.0
