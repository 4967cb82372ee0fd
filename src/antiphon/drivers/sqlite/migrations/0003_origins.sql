-- oldest program: 1
-- What cache entries are selected by. Programs that do not know these columns leave them as they are by default.
ALTER TABLE cache_entries ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN keep_until REAL NOT NULL DEFAULT 0;
ALTER TABLE cache_entries ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cache_entries ADD COLUMN as_of INTEGER NOT NULL DEFAULT -1;

-- Purges and pins, in the order in which all workers hear of them.
CREATE TABLE cache_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at     REAL NOT NULL,
    change TEXT NOT NULL
) STRICT;

-- Who has to hear of them before they are done, how far each has heard, and for how long it goes on without hearing.
CREATE TABLE cache_readers (
    name     TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    trust    REAL NOT NULL
) STRICT, WITHOUT ROWID;
