"""What a database says when it fails, in the words of the error tree, with a remedy. Opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from ..profiler.errors import NotADatabase, RowRefused, StoreBusy, StoreError, StoreUnwritable

#: SQLite's words (its error codes reach Python from 3.11 only) → error, what to say, remedy.
_SQLITE = (
    ("not a database", NotADatabase, "is not a database", "Name another file."),
    ("malformed", NotADatabase, "is damaged", "Restore a copy, or try `sqlite3 FILE .recover`."),
    ("is full", StoreUnwritable, "cannot grow: the disk is full", "free space, nothing recorded so far is lost"),
    ("readonly", StoreUnwritable, "is read-only", "Make the file and its directory writable, or name another file."),
    ("unable to open", StoreUnwritable, "cannot be opened", "Make its directory and make it writable."),
    ("disk i/o", StoreUnwritable, "cannot be written: the disk fails or is full", "Check the disk; free space."),
    ("is locked", StoreBusy, "is held by another process", "Wait for it to end, or end it."),
)

#: Beginnings of PostgreSQL's SQLSTATE → the same. The longest match wins by standing first.
_POSTGRESQL = (
    ("53100", StoreUnwritable, "cannot grow: the disk is full", "free space, nothing recorded so far is lost"),
    ("25006", StoreUnwritable, "is read-only", "Connect to the primary server."),
    ("42501", StoreUnwritable, "refuses this user", "Grant the user the rights on the schema."),
    ("55P03", StoreBusy, "is held by another process", "Wait for it to end, or end it."),
    ("40P01", StoreBusy, "met a deadlock", "Try again."),
    ("53", StoreBusy, "has no room for another connection", "Try again later."),
    ("28", StoreError, "refuses this user", "Check user and password."),
    ("3D", StoreError, "does not exist", "Create it with `createdb`."),
)


@contextmanager
def in_our_words(label: str) -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours within the block. ``label`` names the database, without a password.

    Raises:
        StoreError: or the subclass whose remedy fits.
    """
    try:
        yield
    except DBAPIError as error:
        raise translate(error, label) from error
    except NoConnectionFree as error:
        raise StoreBusy(f"{label} has no connection free", remedy="Try again later.") from error


def translate(error: DBAPIError, label: str) -> StoreError:
    """The error of our tree that stands for one of SQLAlchemy's."""
    said = str(error.orig).strip()
    if isinstance(error, IntegrityError | DataError) or "immutable" in said:
        return RowRefused(f"{label} refuses the row: {said}")
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        for beginning, kind, what, remedy in _POSTGRESQL:
            if state.startswith(beginning):
                return kind(f"{label} {what}: {said}", remedy=remedy)
    for words, kind, what, remedy in _SQLITE:
        if words in said.lower() and label.startswith("sqlite"):
            return kind(f"{label} {what} ({said}).", remedy=remedy)
    if error.connection_invalidated or "connect" in said.lower():
        return StoreError(f"{label} cannot be reached: {said}", remedy="Check the address and that the server runs.")
    return StoreError(f"{label}: {said}")
