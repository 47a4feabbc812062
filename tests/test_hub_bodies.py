"""What is sent to the hub may be broken, huge or hostile: each is refused with its reason, and none is a 500."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.db import Store
from tests.fleet_store import Board, enrol
from tests.hub_server import QUICK, Hub, served

#: No answer is waited for, and what a body may hold is little.
SMALL = replace(QUICK, body_bytes=64 << 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """On SQLite: what is refused here never comes to a database."""
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def board(store: Store) -> Board:
    return enrol(store)


@pytest.fixture
def hub(store: Store) -> Iterator[Hub]:
    with served(store, SMALL) as found:
        yield found


def work(hub: Hub, board: Board, raw: bytes, **headers: str):
    """A request for work with this body."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return hub.ask("POST", "/v1/leases", token=board.token, raw=raw, headers=sent)


def nested(depth: int) -> bytes:
    return b'{"wait_s": 0, "conditions": {"a": ' + b"[" * depth + b"]" * depth + b"}}"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"wait_s": NaN}', id="NaN"),
        pytest.param(b'{"wait_s": -Infinity}', id="Infinity"),
        pytest.param(b'{"wait_s": 1e999}', id="a float out of range"),
        pytest.param(b'{"wait_s": 1' + b"0" * 400 + b"}", id="a whole number beyond floats"),
        pytest.param(b'{"wait_s": 0, "limit": 1' + b"0" * 30 + b"}", id="a whole number beyond 64 bits"),
        pytest.param(b'{"wait_s": 0, "limit": 1' + b"0" * 5000 + b"}", id="a whole number beyond Python"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a": 1' + b"0" * 30 + b"}}", id="the same inside"),
        pytest.param(b'{"wait_s": true}', id="a boolean for a number"),
        pytest.param(b'{"wait_s": "0"}', id="a text for a number"),
        pytest.param(b'{"wait_s": 0, "limit": 1.0}', id="a float for a whole number"),
        pytest.param(b'{"wait_s": 0, "wait_s": 1}', id="twice"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a": {"b": 1, "b": 1}}}', id="twice inside"),
        pytest.param(b'{"wait_s": 0, "more": 1}', id="unknown"),
        pytest.param(b'{"wait_s": 0, "\\ud800": 1}', id="unknown and a lone surrogate"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a": "\\ud800"}}', id="a lone surrogate"),
        pytest.param(b'{"wait_s": 0, "conditions": {"\\ud800": 1}}', id="a lone surrogate as a key"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a": "\\u0000"}}', id="a zero character"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a\\u0000": 1}}', id="a zero character as a key"),
        pytest.param(b'{"wait_s": 0, "conditions": {"a": "\xff"}}', id="no UTF-8"),
        pytest.param('{"wait_s": 0}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"wait_s": 0}'.encode("utf-8-sig"), id="with a mark"),
        pytest.param(nested(17), id="deep"),
        pytest.param(nested(30_000), id="deeper than the stack"),
    ],
)
def test_what_is_no_request_is_refused_with_its_reason(hub: Hub, board: Board, raw: bytes) -> None:
    refused = work(hub, board, raw)
    assert refused.status == 422
    assert refused.json["message"]
    assert len(refused.body) < 1000  # what was sent is not sent back


def test_an_unusual_request_that_is_one_is_answered(hub: Hub, board: Board) -> None:
    for raw in (
        b'{"wait_s": 0}',
        b' {"wait_s":0e0}\r\n',
        '{"wait_s": 0, "conditions": {"ü": "😀"}}'.encode(),
        nested(14),
    ):
        assert work(hub, board, raw).status == 204
        assert work(hub, board, gzip.compress(raw), Content_Encoding="gzip").status == 204
        assert work(hub, board, raw, Content_Encoding="identity").status == 204


@pytest.mark.parametrize(
    "raw",
    [
        gzip.compress(b'{"wait_s": 0}')[:-1],
        gzip.compress(b'{"wait_s": 0}')[:-8],
        gzip.compress(b'{"wait_s": 0}')[:5],
        gzip.compress(b'{"wait_s": 0}') + b"more",
        gzip.compress(b'{"wait_s"') + gzip.compress(b": 0}"),
        zlib.compress(b'{"wait_s": 0}'),
        b'{"wait_s": 0}',
        b"",
    ],
    # Not by their bytes: gzip writes the time into them.
    ids=["cut", "without check", "begun", "more behind", "two", "zlib", "plain", "empty"],
)
def test_a_pack_that_is_cut_or_goes_on_is_refused(hub: Hub, board: Board, raw: bytes) -> None:
    assert work(hub, board, raw, Content_Encoding="gzip").status == 422


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x-gzip", "zstd", ""])
def test_another_way_of_packing_is_refused_by_its_name(hub: Hub, board: Board, encoding: str) -> None:
    refused = work(hub, board, b'{"wait_s": 0}', Content_Encoding=encoding)
    assert refused.status == 415
    assert "gzip" in refused.json["remedy"]


def test_a_bomb_is_refused_without_being_unpacked(hub: Hub, board: Board) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(60)) + packer.flush()
    assert len(bomb) < SMALL.body_bytes  # 60 MB in 60 kB
    tracemalloc.start()
    try:
        assert work(hub, board, bomb, Content_Encoding="gzip").status == 413
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(hub: Hub, board: Board) -> None:
    fitting = b'{"wait_s": 0}'.ljust(SMALL.body_bytes)
    for raw, packed in ((fitting, False), (fitting, True)):
        more = raw + b" "
        if packed:
            raw, more = gzip.compress(raw), gzip.compress(more)
        headers = {"Content_Encoding": "gzip"} if packed else {}
        assert work(hub, board, raw, **headers).status == 204
        assert work(hub, board, more, **headers).status == 413


def test_a_length_that_was_announced_is_refused_before_it_is_sent(hub: Hub, board: Board) -> None:
    for length in (SMALL.body_bytes + 1, 10**17, 10**30):
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
        connection.putrequest("POST", "/v1/leases")
        connection.putheader("Authorization", f"Bearer {board.token}")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        assert connection.getresponse().status in (400, 413)  # 400: HTTP itself has no such length
        connection.close()


def test_a_body_without_a_length_is_refused_where_it_becomes_too_large(hub: Hub, board: Board) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60)
    pieces = iter([b'{"wait_s": 0', b" " * SMALL.body_bytes, b"}"])
    connection.request("POST", "/v1/leases", pieces, {"Authorization": f"Bearer {board.token}"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("announced", ["100", "-1", "1_0", "0x10", "5, 6"])
def test_a_length_that_lies_is_no_failure_of_the_hub(
    hub: Hub, board: Board, announced: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Too long, it is a body that was cut off when the board hangs up; anything else is no HTTP."""
    head = f"POST /v1/leases HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {board.token}\r\n"
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60) as connection:
        connection.sendall(f'{head}Content-Length: {announced}\r\n\r\n{{"wait_s": 0}}'.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert hub.ask("GET", "/v1/health").status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_body_belongs_to_a_kind_of_request(hub: Hub, board: Board) -> None:
    """Each field of another kind is refused, in every message that boards send."""
    for path in ("/v1/enroll", "/v1/agents/self/hello", "/v1/results", f"/v1/leases/{'0' * 32}/renew"):
        refused = hub.ask("POST", path, raw=json.dumps({"code": [], "x": {}}).encode(), token=board.token)
        assert refused.status == 422
