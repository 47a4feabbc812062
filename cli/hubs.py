"""``edgecost hub``: serve a fleet's hub, let boards and people in, and see who did what."""

from __future__ import annotations

from pathlib import Path

import click

from .options import db_option, json_option
from .output import print_json, print_table
from .parameters import LabelType


@click.group()
def hub() -> None:
    """A hub: boards pull work from it and hand results over."""


@hub.command(
    epilog="Example:  edgecost hub serve --db postgresql://edgecost@db/edgecost --host 0.0.0.0 "
    "--tls-cert hub.pem --tls-key hub.key"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8440, show_default=True, help="0 takes a free one.")
@click.option("--tls-cert", "certificate", type=click.Path(path_type=Path), help="PEM file; TLS with --tls-key.")
@click.option("--tls-key", "key", type=click.Path(path_type=Path), help="PEM file of the certificate's key.")
@click.option(
    "--allow-plain-http", is_flag=True, help="Without TLS on other addresses than loopback: tokens can be read."
)
@click.option("--trust-proxy", "proxies", default="", help="Address of a proxy whose X-Forwarded-For is believed.")
@click.option("--lease-time", "lease_s", type=click.FloatRange(min=5), default=90.0, show_default=True,
              help="Seconds that a board may be silent before its jobs go to others.")  # fmt: skip
@db_option
@json_option
def serve(
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    allow_plain_http: bool,
    proxies: str,
    lease_s: float,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Serve the hub of a database until Ctrl-C.

    Any number of hubs may serve one PostgreSQL. A SQLite file takes one hub. Without TLS it listens on loopback only.
    """  # fmt: skip
    from ..db import Store
    from ..hub.serve import Place
    from ..hub.serve import serve as serve_at
    from ..hub.settings import HubSettings

    place = Place(host, port, certificate, key, allow_plain_http, proxies)
    place.check()
    with Store(db_url) as store:

        def told(url: str) -> None:
            if as_json:
                print_json({"url": url, "database": store.url})
                return
            click.echo(f"The hub of {store.url} serves at {url}   (Ctrl-C ends it)", err=True)
            click.echo("Let a board in:  edgecost hub enroll --label pool=nano", err=True)
            click.echo("Look at it in a browser, with a token:  edgecost hub token NAME --role viewer", err=True)

        serve_at(store, place, HubSettings(lease_s=lease_s), told)


@hub.command(epilog="Example:  edgecost hub enroll --label pool=nano --label lab=zurich")
@click.option("--label", "labels", type=LabelType(), multiple=True, help="key=value; campaigns choose boards by it.")
@click.option("--name", help="Of the board; without it the board brings its own.")
@click.option("--replace", "replaces", metavar="NAME", help="Take the place of this board: its token ends.")
@click.option("--valid", "valid_s", type=click.FloatRange(min=1), default=600.0, show_default=True,
              help="Seconds for which the code may be used.")  # fmt: skip
@db_option
@json_option
def enroll(
    labels: tuple[tuple[str, str], ...],
    name: str | None,
    replaces: str | None,
    valid_s: float,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Make a one-time code with which one board can enrol."""  # fmt: skip
    from ..db import Store

    with Store(db_url) as store:
        made = store.fleet.make_code(dict(labels), name=name, replaces=replaces, by=keeper(), valid_s=valid_s)
    if as_json:
        print_json({"code": made.code, "expires_at": made.expires_at, "labels": dict(labels)})
        return
    click.echo(made.code)
    click.echo(
        f"On the board, until {made.expires_at[11:19]} UTC:  edgecost agent enroll HUB_URL {made.code}", err=True
    )


@hub.command(epilog="Example:  edgecost hub token ana --role operator")
@click.argument("name")
@click.option("--role", type=click.Choice(("viewer", "operator", "admin")), default="viewer", show_default=True,
              help="viewer looks, operator steers boards and campaigns, admin lets boards in.")  # fmt: skip
@click.option("--revoke", is_flag=True, help="Let this token open nothing any more.")
@db_option
@json_option
def token(name: str, role: str, revoke: bool, db_url: str | None, as_json: bool) -> None:
    """Make, or revoke, a token with which a person or program may ask the hub."""
    from ..db import Store

    with Store(db_url) as store:
        if revoke:
            store.fleet.revoke_token(name, by=keeper())
            made = ""
        else:
            made = store.fleet.make_token(name, role, by=keeper())
    if as_json:
        print_json({"name": name, "revoked": revoke, **({} if revoke else {"role": role, "token": made})})
    elif revoke:
        click.echo(f"The token of {name} opens nothing any more.", err=True)
    else:
        click.echo(made)
        click.echo("It is shown this once. Send it as:  Authorization: Bearer TOKEN", err=True)


@hub.command(epilog="Example:  edgecost hub audit --limit 20")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Newest entries to show.")
@db_option
@json_option
def audit(limit: int, db_url: str | None, as_json: bool) -> None:
    """Who did what: boards let in and refused, tokens, boards steered, jobs cancelled."""
    from ..db import Store
    from ..profiler.documents import encode

    with Store(db_url) as store:
        entries = store.fleet.audit(limit)
    if as_json:
        print_json({"entries": encode(entries)})
        return
    rows = [[one.at[:19], one.actor or "–", one.address or "here", one.action, one.subject] for one in entries]
    print_table("What was done, newest first", ["at (UTC)", "by", "from", "what", "to"], rows, left=5)


def keeper() -> str:
    """Who works at this terminal, for the log."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody at the database"
