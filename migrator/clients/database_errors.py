"""What databases and their drivers say, in our words: which errors pass, which stop everything, and without secrets."""

import re
import sqlite3
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from migrator.core.errors import Fatal, Invalid, ObjectError, Transient
from migrator.core.model import Side
from migrator.core.secrets import MASK, mask_text


class Deadlock(Transient):
    """The database gave this transaction up for the sake of another one: the same again may pass at once."""


_LONGEST = 300
"""Characters of a driver's text that are shown."""

_PLAIN_QUERY = frozenset({"host", "port", "charset", "sslmode", "application_name", "mode", "uri"})
"""Parameters of database URLs whose values are no secret."""

_POSTGRES_PASSES = ("08", "40", "53", "55P03", "57")
"""SQLSTATE classes that pass: connection, rollback (deadlock), resources, lock not available, operator intervention.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""
_POSTGRES_STOPS = ("0A", "25", "28", "3D", "3F", "42", "53100", "58")
"""Not supported, read-only, authorization, no such database or schema, syntax and names, disk full, system error."""

_POSTGRES_BUSY = re.compile(
    r"too many (clients|connections)|connection slots|starting up|shutting down|in recovery|not yet accepting|terminat"
)
"""What a server that refuses a connection for the moment says: such refusals carry no SQLSTATE."""


def _codes(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split()))


_MYSQL_PASSES = _codes(
    "1020 1040 1053 1152 1158 1159 1160 1161 1203 1205 1213 1226 1317 1927 1969 2002 2003 2006 2013 2055 3024 4031"
)
"""https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference"""
_MYSQL_STOPS = _codes(
    "1044 1045 1046 1049 1051 1052 1054 1060 1064 1109 1115 1130 1142 1143 1146 1227 1248 1251 1267 1273 1290 1305 "
    "1356 1370 1396 1698 1792 1836 2026 2054 2059 2061 3118"
)

_SQLITE_PASSES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT})
_SQLITE_INVALID = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG})


class Secrets:
    """What of one database URL must never be shown, in every spelling that a driver may repeat."""

    def __init__(self, text: str, url: URL) -> None:
        user, at, _ = text.partition("://")[2].rpartition("@")
        found = {user, user.partition(":")[2], url.password or ""} if at and ":" in user else {url.password or ""}
        for name, value in url.normalized_query.items():
            if name.lower() not in _PLAIN_QUERY:
                found.update(value)
        if "?" in text:
            found.update(part.partition("=")[2] for part in re.split("[&;]", text.partition("?")[2]))
            found -= {value for name in _PLAIN_QUERY for value in url.normalized_query.get(name, ())}
        spellings = {spelling for secret in found for spelling in _spellings(secret)}
        # The longest first: one that holds another must not be left half.
        self._spellings = sorted(filter(None, spellings), key=len, reverse=True)
        place = f"{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
        self.shown = f"{url.get_backend_name()}://{self._without(place)}"

    def masked(self, text: str) -> str:
        """`text` on one line, short, and without any spelling of a secret."""
        text = " ".join(mask_text(self._without(text)).split())
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."

    def _without(self, text: str) -> str:
        for secret in self._spellings:
            text = text.replace(secret, MASK)
        return text


def _spellings(secret: str) -> set[str]:
    plain = {secret, unquote(secret), unquote_plus(secret)}
    return plain | {spell(one, safe="") for one in plain for spell in (quote, quote_plus)} | {repr(secret)[1:-1]}


def translated(error: BaseException, dialect: str, secrets: Secrets) -> ObjectError:
    """The error of ours for what a driver or SQLAlchemy raised."""
    if isinstance(error, PoolTimeout):
        return _passing("every connection is busy", secrets)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = secrets.masked(_first_words(cause))
    if isinstance(cause, UnicodeError):
        # What it says would show a character of the text, which may be the password.
        return _refused(Fatal, "text in it, or in its URL, has characters that its encoding lacks", secrets)
    if lost or isinstance(cause, OSError):
        return _passing(said, secrets)
    match dialect:
        case "postgresql":
            kind = _postgres_kind(cause)
        case "mysql":
            kind = _mysql_kind(cause)
        case _:
            kind = _sqlite_kind(cause)
    if kind is Transient:
        return _passing(said, secrets, Deadlock if _given_up(cause) else Transient)
    return _refused(kind, said, secrets)


def _given_up(cause: BaseException) -> bool:
    """Deadlocks and serialization failures. 1213 is ER_LOCK_DEADLOCK, 1020 MariaDB's of snapshot isolation."""
    if cause.args and cause.args[0] in (1213, 1020):
        return True
    return str(getattr(cause, "sqlstate", None) or "").startswith("40")


def _passing(said: str, secrets: Secrets, kind: type[Transient] = Transient) -> Transient:
    hint = "see that it runs and answers; the same command again goes on"
    if "statement timeout" in said or "timed out" in said:
        hint = "see that it answers within transfer.timeout, or raise that; the same command again goes on"
    return kind(f"the database {secrets.shown} does not answer now: {said}", side=Side.DATABASE, hint=hint)


def _refused(kind: type[ObjectError], said: str, secrets: Secrets) -> ObjectError:
    return kind(f"the database {secrets.shown} says: {said}", side=Side.DATABASE)


def _first_words(error: BaseException) -> str:
    """The message without what psycopg adds of the statement, and MySQL's without its tuple."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    if primary:
        return str(primary)
    if len(error.args) == 2 and isinstance(error.args[0], int):
        return f"{error.args[1]} ({error.args[0]})"
    return str(error) or type(error).__name__


def _postgres_kind(error: BaseException) -> type[ObjectError]:
    state = getattr(error, "sqlstate", None)
    if state is None:
        text = str(error)
        if "OperationalError" in (kind.__name__ for kind in type(error).__mro__):
            refused = "FATAL:" in text or "password" in text or "certificate" in text
            return Fatal if refused and not _POSTGRES_BUSY.search(text) else Transient
        return Fatal if type(error).__name__ in ("ProgrammingError", "InterfaceError") else Invalid
    if state.startswith("53100"):
        return Fatal
    if state.startswith(_POSTGRES_PASSES):
        return Transient
    return Fatal if state.startswith(_POSTGRES_STOPS) else Invalid


def _mysql_kind(error: BaseException) -> type[ObjectError]:
    code = error.args[0] if error.args else None
    if code in _MYSQL_PASSES or (type(error).__name__ == "InterfaceError" and code == 0):
        return Transient
    return Fatal if code in _MYSQL_STOPS else Invalid


def _sqlite_kind(error: BaseException) -> type[ObjectError]:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in _SQLITE_PASSES:
        return Transient
    if primary in _SQLITE_INVALID or isinstance(error, sqlite3.DataError | sqlite3.IntegrityError):
        return Invalid
    return Fatal
