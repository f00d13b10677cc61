"""What `orphans` asks of the ledger, and where it keeps what it finds meanwhile: not in the ledger."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from migrator.core.orphans import Kind, Orphan, OrphanTally, Owner, Unfinished, Upkeep
from migrator.ledger import verifications
from migrator.ledger.audit import AuditLog
from migrator.ledger.noting import Noting
from migrator.ledger.rows import change_rows
from migrator.ledger.writer import Writer


class OrphanRows(Noting):
    """Fills the port `OrphanLedger` for an open ledger."""

    def __init__(self, ledger_id: str, writer: Writer, audit: AuditLog) -> None:
        super().__init__(ledger_id, writer, audit)
        self._found: sqlite3.Connection | None = None

    def close(self) -> None:
        """Forgets what was found."""
        if self._found is not None:
            self._found.close()
            self._found = None

    async def begin_orphans(self, here: str, prefixes: Sequence[str]) -> None:
        """See the port."""
        await self._writer.run(lambda c: verifications.gather_here(c, here, prefixes))
        self._found = _findings()

    async def unexplained(self, keys: Sequence[str]) -> set[str]:
        """See the port."""
        return await self._writer.run(lambda c: verifications.unexplained(c, keys))

    async def named(self, keys: Sequence[str]) -> set[str]:
        """See the port."""
        return await self._writer.run(lambda c: _named(c, keys))

    async def unsettled(self, items: Sequence[int]) -> set[int]:
        """See the port."""
        return await self._writer.run(lambda c: _unsettled(c, items))

    async def upkeep(self, uploads: Sequence[Unfinished]) -> list[Upkeep | None]:
        """See the port."""
        return await self._writer.run(lambda c: _upkeep(c, uploads))

    async def keep_orphans(self, found: Sequence[Orphan]) -> None:
        """See the port."""
        await self._writer.run(lambda _: _keep(self._findings, found))

    async def orphans(self, after: tuple[str, str], limit: int, owners: Sequence[Owner]) -> list[Orphan]:
        """See the port."""
        return await self._writer.run(lambda _: _kept(self._findings, after, limit, owners))

    async def orphan_tallies(self) -> list[OrphanTally]:
        """See the port."""
        return await self._writer.run(lambda _: _tallies(self._findings))

    @property
    def _findings(self) -> sqlite3.Connection:
        assert self._found is not None, "begin_orphans comes first"
        return self._found


def _findings() -> sqlite3.Connection:
    """An empty database for what is found: a nameless file that goes with the connection, so memory stays flat."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute(
        "CREATE TABLE orphans (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL,"
        " size INTEGER, modified REAL, etag TEXT NOT NULL, upload_id TEXT NOT NULL, UNIQUE (key, upload_id))"
    )
    return connection


def _keep(connection: sqlite3.Connection, found: Sequence[Orphan]) -> None:
    change_rows(
        connection,
        "INSERT OR IGNORE INTO orphans (kind, key, owner, size, modified, etag, upload_id) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        "",
        [(one.kind, one.key, one.owner, one.size, one.modified, one.etag, one.upload_id) for one in found],
    )


def _kept(connection: sqlite3.Connection, after: tuple[str, str], limit: int, owners: Sequence[Owner]) -> list[Orphan]:
    rows = connection.execute(
        "SELECT kind, key, owner, size, modified, etag, upload_id, id FROM orphans"
        " WHERE (key, upload_id) > (?, ?) AND owner IN (SELECT value FROM json_each(?))"
        " ORDER BY key, upload_id LIMIT ?",
        (*after, _json(owners), limit),
    )
    return [Orphan(Kind(kind), key, Owner(owner), *rest) for kind, key, owner, *rest in rows]


def _tallies(connection: sqlite3.Connection) -> list[OrphanTally]:
    rows = connection.execute(
        "SELECT kind, owner, count(*), coalesce(sum(size), 0) FROM orphans GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [OrphanTally(Kind(kind), Owner(owner), count, size) for kind, owner, count, size in rows]


def _unsettled(connection: sqlite3.Connection, items: Sequence[int]) -> set[int]:
    rows = connection.execute(
        "SELECT id FROM items WHERE id IN (SELECT value FROM json_each(?))"
        " AND state IN ('planned', 'intended', 'failed')",
        (_json(items),),
    )
    return {item for (item,) in rows}


def _named(connection: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
    rows = connection.execute(
        "SELECT value FROM json_each(?) WHERE"
        " EXISTS (SELECT 1 FROM items WHERE key = value AND collides IS NULL AND state <> 'rolled-back')"
        " OR EXISTS (SELECT 1 FROM variants WHERE key = value AND state <> 'rolled-back')",
        (_json(keys),),
    )
    return {key for (key,) in rows}


def _upkeep(connection: sqlite3.Connection, uploads: Sequence[Unfinished]) -> list[Upkeep | None]:
    """An item goes on with the newest of its uploads."""
    rows = connection.execute(
        "SELECT asked.key, (SELECT iif(items.state IN ('planned', 'intended') AND uploads.id ="
        " (SELECT max(id) FROM uploads AS newer WHERE newer.item = uploads.item), 'needed', 'noted')"
        "  FROM items JOIN uploads ON uploads.item = items.id"
        "  WHERE items.key = json_extract(asked.value, '$[0]') AND upload_id = json_extract(asked.value, '$[1]')),"
        " EXISTS (SELECT 1 FROM items WHERE items.key = json_extract(asked.value, '$[0]') AND collides IS NULL)"
        " OR EXISTS (SELECT 1 FROM variants WHERE variants.key = json_extract(asked.value, '$[0]'))"
        " FROM json_each(?) AS asked ORDER BY asked.key",
        (_json([(one.key, one.upload_id) for one in uploads]),),
    )
    return [Upkeep(noted) if noted else Upkeep.KEY if known else None for _, noted, known in rows]


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()
