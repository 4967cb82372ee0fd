-- oldest program: 1
-- What cache entries are selected by. Programs that do not know these columns leave them as they are by default.
ALTER TABLE cache_entries ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
ALTER TABLE cache_entries ADD COLUMN keep_until REAL NOT NULL DEFAULT 0;
ALTER TABLE cache_entries ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0;
