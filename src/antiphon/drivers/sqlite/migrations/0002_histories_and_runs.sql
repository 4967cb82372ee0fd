-- oldest program: 1
-- What models were shown: each item once, after the one before it. It is held by responses, by runs, and by the
-- items that come after it, and goes with the last of them.
CREATE TABLE history (
    id       BLOB NOT NULL PRIMARY KEY,
    previous BLOB,
    depth    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    holders  INTEGER NOT NULL DEFAULT 0,
    item     BLOB NOT NULL
);

ALTER TABLE responses ADD COLUMN history BLOB;

-- Histories that a deleted response has held. Programs of version 1 delete responses too, and know nothing of them.
CREATE TABLE released_histories (
    id BLOB NOT NULL
);
CREATE TRIGGER responses_release_history AFTER DELETE ON responses WHEN OLD.history IS NOT NULL
BEGIN
    INSERT INTO released_histories (id) VALUES (OLD.history);
END;

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
    deadline       REAL NOT NULL,
    -- Where the provider carries the answer in its own background mode.
    provider       TEXT,
    upstream_id    TEXT,
    upstream_seq   INTEGER
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
