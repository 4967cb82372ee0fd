-- oldest program: 1
-- What models were shown: each item once, after the one before it. It is held by responses, by runs, and by the
-- items that come after it, and goes with the last of them.
CREATE TABLE history (
    id       BLOB NOT NULL PRIMARY KEY,
    previous BLOB,
    depth    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    holders  INTEGER NOT NULL DEFAULT 0,
    item     BLOB NOT NULL,
    -- The id that the client, or the model's provider, has given it.
    item_id  TEXT
);
CREATE INDEX history_by_item_id ON history (item_id) WHERE item_id IS NOT NULL;

ALTER TABLE responses ADD COLUMN history BLOB;

-- What deleted rows had held, to be looked at: it goes unless somebody else holds it too. Programs of version 1
-- delete and replace rows as well, and know nothing of this.
CREATE TABLE released_histories (id BLOB NOT NULL);
CREATE TABLE released_recordings (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
INSERT INTO released_recordings SELECT id FROM recordings;

-- The bytes of all responses, with their recordings, each counted once, and with what models were shown.
CREATE TABLE totals (name TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO totals SELECT 'responses',
    (SELECT coalesce(sum(512 + length(echo)), 0) FROM responses)
    + (SELECT coalesce(sum(size), 0) FROM recordings WHERE id IN (SELECT recording_id FROM responses));

CREATE TRIGGER history_added AFTER INSERT ON history
BEGIN
    UPDATE totals SET bytes = bytes + 128 + length(NEW.item) WHERE name = 'responses';
END;
CREATE TRIGGER history_deleted AFTER DELETE ON history
BEGIN
    UPDATE totals SET bytes = bytes - 128 - length(OLD.item) WHERE name = 'responses';
END;

-- Replacing a row tells nobody that the old one is gone, but deleting it does.
CREATE TRIGGER responses_replaced BEFORE INSERT ON responses
BEGIN
    DELETE FROM responses WHERE id = NEW.id AND owner = NEW.owner;
END;
CREATE TRIGGER responses_added AFTER INSERT ON responses
BEGIN
    UPDATE totals SET bytes = bytes + 512 + length(NEW.echo) + CASE
        WHEN EXISTS (SELECT 1 FROM responses
            WHERE recording_id = NEW.recording_id AND (id, owner) != (NEW.id, NEW.owner)) THEN 0
        ELSE coalesce((SELECT size FROM recordings WHERE id = NEW.recording_id), 0)
    END WHERE name = 'responses';
END;
CREATE TRIGGER responses_deleted AFTER DELETE ON responses
BEGIN
    UPDATE totals SET bytes = bytes - 512 - length(OLD.echo) - CASE
        WHEN EXISTS (SELECT 1 FROM responses WHERE recording_id = OLD.recording_id) THEN 0
        ELSE coalesce((SELECT size FROM recordings WHERE id = OLD.recording_id), 0)
    END WHERE name = 'responses';
    INSERT INTO released_recordings (id) VALUES (OLD.recording_id) ON CONFLICT DO NOTHING;
    INSERT INTO released_histories (id) SELECT OLD.history WHERE OLD.history IS NOT NULL;
END;
CREATE TRIGGER cache_entries_replaced BEFORE INSERT ON cache_entries
BEGIN
    DELETE FROM cache_entries WHERE digest = NEW.digest;
END;
CREATE TRIGGER cache_entries_deleted AFTER DELETE ON cache_entries
BEGIN
    INSERT INTO released_recordings (id) VALUES (OLD.recording_id) ON CONFLICT DO NOTHING;
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
    history BLOB,
    -- What the last `given` items of the history, and the answer, are to become part of.
    conversation TEXT,
    given   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE run_events (
    id    TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    time  INTEGER NOT NULL,
    frame BLOB NOT NULL,
    PRIMARY KEY (id, seq)
) WITHOUT ROWID;

-- A conversation can be locked: until a time, or as long as the run that holds it has not ended.
CREATE TABLE conversations (
    id           TEXT PRIMARY KEY,
    owner        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    metadata     BLOB NOT NULL,
    touched_at   REAL NOT NULL,
    deleted_at   REAL,
    next_place   INTEGER NOT NULL DEFAULT 0,
    holder       TEXT,
    locked_until REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE conversation_items (
    conversation TEXT NOT NULL,
    place        INTEGER NOT NULL,
    owner        TEXT NOT NULL,
    id           TEXT NOT NULL,
    item         BLOB NOT NULL,
    PRIMARY KEY (conversation, place)
);
CREATE UNIQUE INDEX conversation_items_by_id ON conversation_items (owner, id);

-- Which recordings of kept responses an item stands in, by the id that it has there.
CREATE TABLE recording_items (
    id           TEXT NOT NULL,
    recording_id TEXT NOT NULL,
    PRIMARY KEY (id, recording_id)
) WITHOUT ROWID;
CREATE INDEX recording_items_by_recording ON recording_items (recording_id);
-- Programs of version 1 delete recordings too, and know nothing of their items.
CREATE TRIGGER recordings_forget_items AFTER DELETE ON recordings
BEGIN
    DELETE FROM recording_items WHERE recording_id = OLD.id;
END;

-- Who is to be told that a run has ended: written with the run, and due by the transaction that ends it.
CREATE TABLE webhook_notices (
    id       TEXT PRIMARY KEY,
    run_id   TEXT NOT NULL,
    hook     TEXT NOT NULL,
    status   TEXT,
    ended_at REAL,
    attempt  INTEGER NOT NULL DEFAULT 0,
    due_at   REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX webhook_notices_by_run ON webhook_notices (run_id);
CREATE INDEX webhook_notices_due ON webhook_notices (due_at) WHERE status IS NOT NULL;
CREATE TRIGGER runs_end_notices AFTER UPDATE OF status ON runs WHEN NEW.status NOT IN ('queued', 'in_progress')
BEGIN
    UPDATE webhook_notices SET status = NEW.status WHERE run_id = NEW.id;
END;
CREATE TRIGGER runs_delete_notices AFTER DELETE ON runs WHEN OLD.status IN ('queued', 'in_progress')
BEGIN
    DELETE FROM webhook_notices WHERE run_id = OLD.id;
END;
