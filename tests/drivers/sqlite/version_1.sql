-- Version 1. A recording is kept once, however many names it is found under.
CREATE TABLE recordings (
    id         TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    created_at REAL NOT NULL,
    data       BLOB NOT NULL
);
CREATE INDEX recordings_by_age ON recordings (created_at);

CREATE TABLE cache_entries (
    digest       BLOB NOT NULL PRIMARY KEY,
    recording_id TEXT NOT NULL,
    public_id    TEXT NOT NULL,
    echo         BLOB NOT NULL,
    tags         TEXT NOT NULL,
    stored_at    REAL NOT NULL,
    expires_at   REAL NOT NULL,
    size         INTEGER NOT NULL,
    identity     BLOB NOT NULL
);
CREATE INDEX cache_entries_by_recording ON cache_entries (recording_id);
-- With the size: the sweep reads this index and not the table.
CREATE INDEX cache_entries_by_age ON cache_entries (stored_at, size);
CREATE INDEX cache_entries_by_expiry ON cache_entries (expires_at);

-- Where hits keep their first id (`ids: original`), several owners have responses of one id.
CREATE TABLE responses (
    id           TEXT NOT NULL,
    owner        TEXT NOT NULL,
    recording_id TEXT NOT NULL,
    created_at   INTEGER,
    echo         BLOB NOT NULL,
    expires_at   REAL NOT NULL,
    PRIMARY KEY (id, owner)
) WITHOUT ROWID;
CREATE INDEX responses_by_recording ON responses (recording_id);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- What was deleted lately, for the workers that may still have it in memory.
CREATE TABLE deleted_recordings (
    recording_id TEXT PRIMARY KEY,
    deleted_at   REAL NOT NULL
) WITHOUT ROWID;

-- Responses that a provider keeps itself (`state: upstream`).
CREATE TABLE upstream_responses (
    id         TEXT NOT NULL,
    owner      TEXT NOT NULL,
    provider   TEXT NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (id, owner)
) WITHOUT ROWID;

CREATE TABLE usage (
    id TEXT NOT NULL PRIMARY KEY, time REAL NOT NULL, key TEXT NOT NULL, project TEXT NOT NULL, owner TEXT NOT NULL,
    alias TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, dialect TEXT NOT NULL,
    route TEXT NOT NULL, stream INTEGER NOT NULL, status INTEGER NOT NULL, cache TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, total_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    audio_input_tokens INTEGER NOT NULL, audio_output_tokens INTEGER NOT NULL,
    cost REAL, cost_saved REAL, first_byte_us INTEGER, last_byte_us INTEGER NOT NULL, error TEXT, answer_id TEXT
);

-- What the workers must have in common and nobody else may know.
CREATE TABLE secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE worker_metrics (
    worker   TEXT PRIMARY KEY,
    time     REAL NOT NULL,
    snapshot BLOB NOT NULL
) WITHOUT ROWID;
