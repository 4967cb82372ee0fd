-- oldest program: 1
-- What cache entries are selected by. Programs that do not know these columns leave them as they are by default.
ALTER TABLE cache_entries
    ADD COLUMN scope text NOT NULL DEFAULT '',
    ADD COLUMN target text NOT NULL DEFAULT '',
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN prompt text NOT NULL DEFAULT '',
    ADD COLUMN keep_until double precision NOT NULL DEFAULT 0,
    ADD COLUMN is_pinned boolean NOT NULL DEFAULT false;
