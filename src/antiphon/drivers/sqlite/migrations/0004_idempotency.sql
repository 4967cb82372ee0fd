-- oldest program: 1
-- Requests with an idempotency key. The key itself stands nowhere: the identity is a digest of its owner and of it.
CREATE TABLE idempotency (
    identity    BLOB NOT NULL PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    -- The id that the response to it has, or was to have.
    answer_id   TEXT NOT NULL,
    -- Who is at it, until when unless that is prolonged; NULL: nobody is.
    holder      TEXT,
    held_until  REAL NOT NULL,
    expires_at  REAL NOT NULL,
    has_ended   INTEGER NOT NULL DEFAULT 0,
    size        INTEGER NOT NULL,
    -- NULL where it has ended: its outcome is not kept. Last, so that the others are read without it.
    outcome     BLOB
);
CREATE INDEX idempotency_by_answer ON idempotency (answer_id);
-- With the size, so that all of them are added up without the table.
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at, size);
