"""Wakes those who wait for work: LISTEN and NOTIFY on PostgreSQL. A lost word costs a little time and nothing else.

SQLite has no such thing: whoever waits there also looks by itself every few seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, text

from ..connect import Database

CHANNEL = "edgecost_work"
#: How long a listener waits for a word before it looks whether it should end.
_LOOK_S = 1.0
#: After the server was away.
_AGAIN_S = 2.0


def announce(connection: Connection) -> None:
    """Tell all waiting hubs, once the caller's transaction is committed, that there may be work."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))


class Listener:
    """A thread with a connection of its own that calls ``on_word`` at every word; as a context manager it ends it."""

    def __init__(self, database: Database, on_word: Callable[[], None]) -> None:
        self._database = database
        self._on_word = on_word
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="edgecost-listen", daemon=True)

    def __enter__(self) -> Listener:
        if self._database.dialect == "postgresql":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(10 * _LOOK_S)

    def _listen(self) -> None:
        import psycopg

        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._over.is_set():
            with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                self._on_word()  # what was said while nobody listened
                while not self._over.is_set():
                    for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                        self._on_word()
            self._over.wait(_AGAIN_S)
