"""The ledger's tables, as named migrations. What a file must show to be taken for a ledger."""

import sqlite3

from migrator.core.errors import LedgerError

APPLICATION_ID = 0x4D494752
"""`MIGR` in the file's header: https://www.sqlite.org/fileformat2.html#application_id"""

MIGRATION_SET = "ledger"

_UNSETTLED = "state = 'planned' OR state = 'intended' OR state = 'failed'"

_FIRST_TABLES = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE items (
      id INTEGER PRIMARY KEY,
      source INTEGER NOT NULL REFERENCES sources (id),
      location TEXT NOT NULL,
      key TEXT NOT NULL,
      size INTEGER,
      fingerprint TEXT,
      fields TEXT,        -- JSON
      sealed TEXT,        -- the whole URL where `location` masks a part of it, encrypted
      state TEXT NOT NULL,
      fault TEXT,         -- of failed items; the reason of skipped ones
      message TEXT,
      attempts INTEGER NOT NULL DEFAULT 0,
      run INTEGER,        -- the run that claimed it last
      stored_size INTEGER,
      sha256 TEXT,        -- hex
      etag TEXT,
      version_id TEXT,
      content_type TEXT,
      replaced TEXT,      -- what stood there before an overwrite: version:<id> or backup:<key>
      adopted INTEGER,    -- 1: an earlier attempt had stored it
      settled_at INTEGER, -- seconds since 1970
      collides INTEGER REFERENCES items (id) -- the first item with this key
    )""",
    "CREATE UNIQUE INDEX items_key ON items (key) WHERE collides IS NULL",
    "CREATE UNIQUE INDEX items_collision ON items (key, location) WHERE collides IS NOT NULL",
    # Only what is left to do is in this index, so a queue over 10 million settled items is still small. SQLite takes a
    # partial index for `state = 'planned'` only when its condition is spelled with OR, not with IN.
    f"CREATE INDEX items_queue ON items (state, source, fault) WHERE {_UNSETTLED}",
    """CREATE TABLE tallies (
      source INTEGER NOT NULL REFERENCES sources (id),
      state TEXT NOT NULL,
      reason TEXT NOT NULL,
      items INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (source, state, reason)
    ) WITHOUT ROWID""",
    """CREATE TABLE problems (
      id INTEGER PRIMARY KEY,
      source INTEGER NOT NULL REFERENCES sources (id),
      place TEXT NOT NULL,
      position TEXT NOT NULL,
      fault TEXT NOT NULL,
      message TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX problems_place ON problems (source, place, position, fault)",
    """CREATE TABLE scans (
      source INTEGER PRIMARY KEY REFERENCES sources (id),
      number INTEGER NOT NULL,   -- counts the scans from the beginning
      cursor TEXT,
      complete INTEGER NOT NULL DEFAULT 0,
      skipped INTEGER NOT NULL DEFAULT 0,
      problems INTEGER NOT NULL DEFAULT 0,
      collisions INTEGER NOT NULL DEFAULT 0, -- of all scans: a collision stays
      started_at INTEGER NOT NULL,
      finished_at INTEGER
    )""",
    """CREATE TABLE runs (
      id INTEGER PRIMARY KEY,
      command TEXT NOT NULL,
      config_hash TEXT NOT NULL,
      started_at INTEGER NOT NULL,
      finished_at INTEGER,
      status INTEGER,
      requests TEXT,             -- JSON
      moved_items INTEGER,
      moved_bytes INTEGER
    )""",
    "CREATE TABLE pace (at INTEGER PRIMARY KEY, items INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    """CREATE TABLE uploads (
      id INTEGER PRIMARY KEY,
      item INTEGER NOT NULL REFERENCES items (id),
      upload_id TEXT NOT NULL,
      part_size INTEGER NOT NULL,
      opened_at INTEGER NOT NULL,
      UNIQUE (item, upload_id)
    )""",
    "CREATE TABLE destination_keys (key TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE VIEW failures AS
      SELECT items.id, sources.name AS source, key, location, fault, message, attempts
      FROM items JOIN sources ON sources.id = items.source WHERE state = 'failed'""",
    """CREATE VIEW progress AS
      SELECT sources.name AS source, state, reason, items, bytes
      FROM tallies JOIN sources ON sources.id = tallies.source WHERE items <> 0 ORDER BY 1, 2, 3""",
)

_RECORDS = (
    """CREATE TABLE records (
      id INTEGER PRIMARY KEY,
      item INTEGER NOT NULL REFERENCES items (id),
      source INTEGER NOT NULL REFERENCES sources (id),
      primary_key TEXT NOT NULL, -- JSON array
      seen TEXT NOT NULL,        -- JSON: the columns that location and key are made of, as the scan read them
      fields TEXT,               -- JSON
      state TEXT NOT NULL,
      fault TEXT,
      message TEXT,
      before_image TEXT,         -- JSON: the columns that are updated, as they were before
      after_image TEXT,          -- JSON: what is written to them
      attempts INTEGER NOT NULL DEFAULT 0,
      run INTEGER,               -- the run that updated it last
      settled_at INTEGER         -- seconds since 1970
    )""",
    "CREATE UNIQUE INDEX records_row ON records (source, primary_key)",
    "CREATE INDEX records_item ON records (item)",
    # As with items: spelled with OR, and only what somebody looks for.
    """CREATE INDEX records_queue ON records (state, source, fault)
      WHERE state = 'ready' OR state = 'intended' OR state = 'failed'""",
    """CREATE TABLE record_tallies (
      source INTEGER NOT NULL REFERENCES sources (id),
      state TEXT NOT NULL,
      reason TEXT NOT NULL,
      records INTEGER NOT NULL,
      PRIMARY KEY (source, state, reason)
    ) WITHOUT ROWID""",
    """CREATE VIEW failed_records AS
      SELECT records.id, sources.name AS source, primary_key, records.fault, records.message, records.attempts,
        key, location, seen
      FROM records JOIN sources ON sources.id = records.source JOIN items ON items.id = records.item
      WHERE records.state = 'failed'""",
    """CREATE VIEW record_progress AS
      SELECT sources.name AS source, state, reason, records
      FROM record_tallies JOIN sources ON sources.id = record_tallies.source WHERE records <> 0 ORDER BY 1, 2, 3""",
)

_VARIANTS = (
    """CREATE TABLE variants (
      id INTEGER PRIMARY KEY,
      item INTEGER NOT NULL REFERENCES items (id),
      name TEXT NOT NULL,
      format TEXT NOT NULL,
      key TEXT NOT NULL,
      state TEXT NOT NULL,     -- planned | stored | failed | skipped (its item is no image)
      fault TEXT,
      message TEXT,
      size INTEGER,
      sha256 TEXT,             -- hex
      etag TEXT,
      version_id TEXT,
      content_type TEXT,
      width INTEGER,
      height INTEGER,
      quality INTEGER,
      encodes INTEGER,
      seconds REAL,            -- CPU
      adopted INTEGER,
      replaced TEXT,           -- version:<id> or backup:<key>
      run INTEGER,
      settled_at INTEGER,      -- seconds since 1970
      UNIQUE (item, name, format)
    )""",
    "CREATE INDEX variants_key ON variants (key)",
    "CREATE INDEX variants_left ON variants (state, fault) WHERE state = 'planned' OR state = 'failed'",
    """CREATE TABLE variant_tallies (
      source INTEGER NOT NULL REFERENCES sources (id),
      name TEXT NOT NULL,
      format TEXT NOT NULL,
      state TEXT NOT NULL,
      reason TEXT NOT NULL,
      variants INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (source, name, format, state, reason)
    ) WITHOUT ROWID""",
    # What a source's rows refer to: a record is ready when all of these stand.
    """CREATE TABLE needed_variants (
      source INTEGER NOT NULL REFERENCES sources (id),
      name TEXT NOT NULL,
      format TEXT NOT NULL,
      PRIMARY KEY (source, name, format)
    ) WITHOUT ROWID""",
    # 1: only its variants were stored.
    "ALTER TABLE items ADD COLUMN without_original INTEGER",
    """CREATE VIEW failed_variants AS
      SELECT variants.id, sources.name AS source, variants.name, format, variants.key, items.key AS original, location,
        variants.fault, variants.message
      FROM variants JOIN items ON items.id = variants.item JOIN sources ON sources.id = items.source
      WHERE variants.state = 'failed'""",
    """CREATE VIEW variant_progress AS
      SELECT sources.name AS source, variant_tallies.name, format, state, reason, variants, bytes
      FROM variant_tallies JOIN sources ON sources.id = variant_tallies.source WHERE variants <> 0
      ORDER BY 1, 2, 3, 4, 5""",
)

_VERIFICATIONS = (
    """CREATE TABLE verifications (
      id INTEGER PRIMARY KEY,
      run INTEGER,             -- the run that worked on it last
      scope TEXT NOT NULL,     -- what was asked
      sample REAL NOT NULL,    -- share of the objects that is looked at
      matching INTEGER NOT NULL DEFAULT 0,
      differing INTEGER NOT NULL DEFAULT 0,
      missing INTEGER NOT NULL DEFAULT 0,
      unknown INTEGER NOT NULL DEFAULT 0,
      by_checksum INTEGER NOT NULL DEFAULT 0,
      by_reading INTEGER NOT NULL DEFAULT 0,
      extra INTEGER,           -- NULL: not looked for
      started_at INTEGER NOT NULL,
      finished_at INTEGER
    )""",
    """CREATE TABLE verified (
      item INTEGER NOT NULL,
      variant INTEGER NOT NULL,  -- 0: the item's own object
      verification INTEGER NOT NULL,
      result TEXT NOT NULL,      -- match | differ | missing | unknown
      proof TEXT,                -- checksum | read; NULL: the bytes were not compared
      message TEXT,
      verified_at INTEGER NOT NULL,
      PRIMARY KEY (item, variant)
    ) WITHOUT ROWID""",
    "CREATE INDEX verified_badly ON verified (verification, item, variant) WHERE result <> 'match'",
    "CREATE TABLE extras (key TEXT PRIMARY KEY, verification INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE VIEW differences AS
      SELECT result, coalesce(variants.key, items.key) AS key, location, verified.message
      FROM verified JOIN items ON items.id = verified.item LEFT JOIN variants ON variants.id = verified.variant
      WHERE result <> 'match' AND verification = (SELECT max(id) FROM verifications)
      UNION ALL SELECT 'extra', key, NULL, NULL FROM extras""",
)

_ROLLBACKS = (
    """CREATE TABLE left_alone (
      id INTEGER PRIMARY KEY,
      kind TEXT NOT NULL,      -- object | row | upload | column
      name TEXT NOT NULL,      -- key of an object or upload, primary key of a row, column
      source TEXT NOT NULL,
      fault TEXT NOT NULL,
      message TEXT NOT NULL
    )""",
    "CREATE INDEX records_done ON records (source, id) WHERE before_image IS NOT NULL OR state = 'recorded'",
)

# Tries after the first one of an object.
_RETRIES = ("ALTER TABLE runs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0",)

_CLEANUPS = (
    """CREATE TABLE cleaned (
      id INTEGER PRIMARY KEY,
      location TEXT NOT NULL UNIQUE,
      source INTEGER NOT NULL REFERENCES sources (id), -- through whose root or connection it is reached
      state TEXT NOT NULL,       -- intended | trashed | deleted | purged | restored
      way TEXT NOT NULL,         -- trash | marker | delete
      place TEXT,                -- where it is in the trash folder: a location
      size INTEGER NOT NULL,
      fingerprint TEXT NOT NULL, -- what it was when it was taken away
      version_id TEXT,           -- of the object, in a versioned bucket
      marker_id TEXT,            -- of the delete marker that hides it
      run INTEGER NOT NULL,      -- the run that took it away
      intended_at INTEGER NOT NULL,
      settled_at INTEGER         -- seconds since 1970
    )""",
    # Every item that is made of the source.
    "CREATE TABLE cleaned_items (item INTEGER PRIMARY KEY, cleaned INTEGER NOT NULL REFERENCES cleaned (id))",
    "CREATE INDEX cleaned_items_cleaned ON cleaned_items (cleaned)",
    """CREATE TABLE cleaned_tallies (
      source INTEGER NOT NULL REFERENCES sources (id),
      state TEXT NOT NULL,
      sources INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (source, state)
    ) WITHOUT ROWID""",
)

_PLANS = (
    # What the scan was asked for: a digest of the configuration.
    "ALTER TABLE scans ADD COLUMN listing TEXT",
    # 1: failed, and not met yet by the scan that is on.
    "ALTER TABLE items ADD COLUMN unlisted INTEGER",
    # 1: a try that failed may have stored it all the same. Earlier steps did not keep that.
    "ALTER TABLE items ADD COLUMN unsure INTEGER",
    "UPDATE items SET unsure = 1 WHERE attempts > 0 AND (state = 'planned' OR state = 'failed')",
    # 1: another source has it too.
    "ALTER TABLE items ADD COLUMN shared INTEGER",
    # 1: the configuration no longer has it.
    "ALTER TABLE sources ADD COLUMN removed INTEGER NOT NULL DEFAULT 0",
)

# What a later scan saw of the source of an object that is stored: it has changed since.
_CHANGES = (
    "ALTER TABLE items ADD COLUMN now_size INTEGER",
    "ALTER TABLE items ADD COLUMN now_fingerprint TEXT",
    # 1: planned, so that what the source has now takes the place of what was stored.
    "ALTER TABLE items ADD COLUMN renewed INTEGER",
    "CREATE INDEX items_changed ON items (source) WHERE now_fingerprint IS NOT NULL",
    # Number of the scan that met it last, where that is noted: of what was rolled back, and of what is stored while a
    # scan marks it, because the configuration has changed.
    "ALTER TABLE items ADD COLUMN listed INTEGER",
    "ALTER TABLE scans ADD COLUMN marks INTEGER NOT NULL DEFAULT 0",
)

FIRST = "0001-first-tables"

MIGRATIONS = {
    FIRST: _FIRST_TABLES,
    "0002-records": _RECORDS,
    "0003-variants": _VARIANTS,
    "0004-verifications": _VERIFICATIONS,
    "0005-rollbacks": _ROLLBACKS,
    "0007-cleanups": _CLEANUPS,
    "0008-retries": _RETRIES,
    "0009-plans": _PLANS,
    "0010-changes": _CHANGES,
}
"""Name of each step and its statements, in order. A released step never changes: add another."""


def migrate(connection: sqlite3.Connection) -> None:
    """Applies the steps that are missing, each in a transaction of its own."""
    if not pending(connection):
        return
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    steps = Migrations(MIGRATION_SET)
    for name, statements in MIGRATIONS.items():

        def step(database: Database, statements: tuple[str, ...] = statements) -> None:
            for statement in statements:
                database.execute(statement)

        steps(name=name)(step)
    steps.apply(Database(connection, execute_plugins=False))


def pending(connection: sqlite3.Connection) -> list[str]:
    """Names of the steps that this file lacks. Raises LedgerError when it is newer, or no ledger at all."""
    applied = _applied(connection)
    newer = [name for name in applied if name not in MIGRATIONS]
    if newer:
        raise LedgerError(
            f"The ledger was written by a newer migrator (it has the schema step {newer[-1]})",
            "upgrade migrator, or start over under another name",
        )
    return [name for name in MIGRATIONS if name not in applied]


def _applied(connection: sqlite3.Connection) -> list[str]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if tables - {"_sqlite_migrations"} and application_id != APPLICATION_ID:
        raise LedgerError(
            "The file is an SQLite database, but no ledger",
            "choose another name in the config, or move that file out of the way",
        )
    if "_sqlite_migrations" not in tables:
        return []
    found = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (MIGRATION_SET,)
    )
    return [name for (name,) in found]
