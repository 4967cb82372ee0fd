-- Version 2. A recording is kept once, however many names it is found under.
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
    history      BLOB,
    PRIMARY KEY (id, owner)
) WITHOUT ROWID;
CREATE INDEX responses_by_recording ON responses (recording_id);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- What models were shown: each item once, after the one before it. It is held by responses, by runs, and by the
-- items that come after it, and goes with the last of them.
CREATE TABLE history (
    id       BLOB PRIMARY KEY,
    previous BLOB,
    depth    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    holders  INTEGER NOT NULL DEFAULT 0,
    item     BLOB NOT NULL
) WITHOUT ROWID;

-- Answers that must survive their process. This table is narrow because it is written with every batch of events.
CREATE TABLE runs (
    id             TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    status         TEXT NOT NULL,
    epoch          INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    worker         TEXT,
    lease_until    REAL NOT NULL,
    attempt        INTEGER NOT NULL,
    is_shown       INTEGER NOT NULL,
    is_public      INTEGER NOT NULL,
    has_effect     INTEGER NOT NULL,
    priority       INTEGER NOT NULL,
    created_at     REAL NOT NULL,
    queue_deadline REAL NOT NULL,
    deadline       REAL NOT NULL
) WITHOUT ROWID;
-- With `status` although it is always the same: else counting would look into the table.
CREATE INDEX runs_queued ON runs (queue_deadline, status) WHERE status = 'queued';
CREATE INDEX runs_queued_by_owner ON runs (owner, priority DESC, created_at, queue_deadline, status)
WHERE status = 'queued';
CREATE INDEX runs_in_progress_by_owner ON runs (owner, status) WHERE status = 'in_progress';
CREATE INDEX runs_in_progress ON runs (lease_until) WHERE status = 'in_progress';

CREATE TABLE run_requests (
    id      TEXT PRIMARY KEY,
    request BLOB NOT NULL,
    history BLOB
) WITHOUT ROWID;

CREATE TABLE run_events (
    id    TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    time  INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (id, seq)
) WITHOUT ROWID;

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
