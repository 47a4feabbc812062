"""The hub as a program: `edgecost hub serve` in its own process, with TLS, at its end, and without its database."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.db import Store
from tests.conftest import postgresql
from tests.fleet_store import campaign, enrol
from tests.hub_server import QUICK, Hub, served
from tests.test_hub_agents import ask_for_work, until, waits


def command(database: Path | str, *arguments: str | Path) -> list[str]:
    serve = [sys.executable, "-m", "edgecost", "hub", "serve"]
    return [*serve, "--db", str(database), "--port", "0", *map(str, arguments)]


@contextmanager
def program(database: Path | str, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program and the URL that it says it serves at."""
    started = subprocess.Popen(
        command(database, "--json", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    try:
        assert started.stdout is not None
        said = ""
        while not said.endswith("}\n"):
            line = started.stdout.readline()
            assert line, started.communicate()[1]
            said += line
        yield started, json.loads(said)["url"]
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_an_end_is_no_failure_and_waits_for_no_long_poll(database: Path, told: signal.Signals) -> None:
    """The request would wait for 50 s; it is answered with 204, not cut."""
    with Store(database) as store:
        board = enrol(store)
        with program(database) as (hub, url), ThreadPoolExecutor(1) as pool:
            place = Hub(int(url.rpartition(":")[2]))
            asked = pool.submit(ask_for_work, place, board, 50.0, 32, "here")
            until(lambda: waits(store, board, "here"), "the board waits")
            hub.send_signal(told)
            _, said = hub.communicate(timeout=40)
            assert asked.result().status == 204
            assert (hub.returncode, said) == (0, "")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that vouches for itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "hub.pem", folder / "hub.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def test_a_hub_with_a_certificate_speaks_tls_only(database: Path, certificate: tuple[Path, Path]) -> None:
    made, key = certificate
    with program(database, "--host", "0.0.0.0", "--tls-cert", made, "--tls-key", key) as (_, url):
        assert url.startswith("https://0.0.0.0:")
        port = int(url.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=made)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)
        connection.request("GET", "/v1/health")
        assert json.loads(connection.getresponse().read())["status"] == "ok"
        connection.close()
        with pytest.raises((http.client.HTTPException, OSError)):
            Hub(port).ask("GET", "/v1/health")
        stranger = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=ssl.create_default_context())
        with pytest.raises(ssl.SSLError):
            stranger.request("GET", "/v1/health")


def refused(database: Path, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and message of a hub that does not serve."""
    done = subprocess.run(command(database, *arguments), capture_output=True, text=True, cwd="/", timeout=120)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_tokens_do_not_travel_in_the_clear_unless_somebody_says_so(database: Path) -> None:
    code, said = refused(database, "--host", "0.0.0.0")
    assert code == 2
    assert "--tls-cert" in said
    assert "--allow-plain-http" in said
    with program(database, "--host", "0.0.0.0", "--allow-plain-http") as (_, url):
        assert Hub(int(url.rpartition(":")[2])).ask("GET", "/v1/health").status == 200


def test_half_of_a_pair_and_files_that_are_none_are_wrong_usage(database: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for arguments, word in (
        (("--tls-cert", junk), "--tls-key"),
        (("--tls-cert", junk, "--tls-key", tmp_path / "nothing"), "not there"),
        (("--tls-cert", junk, "--tls-key", junk), "PEM"),
    ):
        code, said = refused(database, *arguments)
        assert code == 2
        assert word in said


def test_a_port_that_is_taken_is_said_with_what_helps(database: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused(database, "--port", str(taken.getsockname()[1]))
    assert code == 10
    assert "--port" in said
    code, said = refused(database, "--host", "192.0.2.1", "--allow-plain-http")  # nobody's address
    assert code == 10


def test_a_hub_without_its_database_asks_for_patience_and_recovers() -> None:
    """Requests that wait, and those that come, are told to come again; words wake again once the server is back."""
    with postgresql() as server, Store(server.url.format("postgres")) as store:
        board = enrol(store)
        campaign(store, 1)
        store.fleet.cancel(campaign="test")
        with served(store, replace(QUICK, poll_s=0.5)) as hub, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask_for_work, hub, board, 50.0, 32, "here")
            until(lambda: waits(store, board, "here"), "the board waits")
            server.stop()
            for reply in (waiting.result(), ask_for_work(hub, board), hub.ask("GET", "/v1/health")):
                assert reply.status == 503
                assert int(reply.headers["retry-after"]) > 0
                assert "postgres" not in reply.json["message"]  # strangers are not told where the database is
            assert server.start()
            until(lambda: hub.ask("GET", "/v1/health").status == 200, "the hub is well again")
            waiting = pool.submit(ask_for_work, hub, board, 50.0, 32, "again")
            until(lambda: waits(store, board, "again"), "the board waits again")
            store.fleet.retry(campaign="test")
            assert waiting.result().status == 200
