-- oldest program: 1
-- The same tables as in SQLite; see there for what each is about.
CREATE TABLE recordings (
    id         text PRIMARY KEY,
    size       bigint NOT NULL,
    created_at double precision NOT NULL,
    data       bytea NOT NULL
);
CREATE INDEX recordings_by_age ON recordings (created_at);

CREATE TABLE cache_entries (
    digest       bytea PRIMARY KEY,
    recording_id text NOT NULL,
    public_id    text NOT NULL,
    echo         bytea NOT NULL,
    tags         text NOT NULL,
    stored_at    double precision NOT NULL,
    expires_at   double precision NOT NULL,
    size         bigint NOT NULL,
    identity     bytea NOT NULL
);
CREATE INDEX cache_entries_by_recording ON cache_entries (recording_id);
CREATE INDEX cache_entries_by_age ON cache_entries (stored_at) INCLUDE (size);
CREATE INDEX cache_entries_by_expiry ON cache_entries (expires_at);

CREATE TABLE responses (
    id           text NOT NULL,
    owner        text NOT NULL,
    recording_id text NOT NULL,
    created_at   bigint,
    echo         bytea NOT NULL,
    expires_at   double precision NOT NULL,
    history      bytea,
    PRIMARY KEY (id, owner)
);
CREATE INDEX responses_by_recording ON responses (recording_id);
CREATE INDEX responses_by_expiry ON responses (expires_at);

-- Recordings that deleted rows had held, to be looked at.
CREATE TABLE released_recordings (id text NOT NULL);

-- The sum is what all responses take, with their recordings, each counted once, and with what models were shown.
-- Only ever added to, as a sum in one row would keep all who write waiting for each other; the sweep adds up.
CREATE TABLE total_changes (bytes bigint NOT NULL);

CREATE FUNCTION responses_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO total_changes SELECT 512 + length(NEW.echo) + CASE
            WHEN EXISTS (SELECT FROM responses
                WHERE recording_id = NEW.recording_id AND (id, owner) <> (NEW.id, NEW.owner)) THEN 0
            ELSE coalesce((SELECT size FROM recordings WHERE id = NEW.recording_id), 0)
        END;
    ELSE
        -- One after the other: the last of them takes the recording off.
        PERFORM FROM recordings WHERE id = OLD.recording_id FOR UPDATE;
        INSERT INTO total_changes SELECT -512 - length(OLD.echo) - CASE
            WHEN EXISTS (SELECT FROM responses WHERE recording_id = OLD.recording_id) THEN 0
            ELSE coalesce((SELECT size FROM recordings WHERE id = OLD.recording_id), 0)
        END;
        INSERT INTO released_recordings VALUES (OLD.recording_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER responses_changed AFTER INSERT OR DELETE ON responses
FOR EACH ROW EXECUTE FUNCTION responses_changed_v1();

CREATE FUNCTION cache_entries_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO released_recordings VALUES (OLD.recording_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER cache_entries_deleted AFTER DELETE ON cache_entries
FOR EACH ROW EXECUTE FUNCTION cache_entries_changed_v1();
CREATE TRIGGER cache_entries_replaced AFTER UPDATE ON cache_entries
FOR EACH ROW WHEN (OLD.recording_id <> NEW.recording_id) EXECUTE FUNCTION cache_entries_changed_v1();

-- `holders` is never 0 when a transaction ends.
CREATE TABLE history (
    id       bytea PRIMARY KEY,
    previous bytea,
    depth    bigint NOT NULL,
    size     bigint NOT NULL,
    holders  integer NOT NULL,
    item     bytea NOT NULL,
    item_id  text
);
CREATE INDEX history_by_item_id ON history (item_id) WHERE item_id IS NOT NULL;

-- Each batch of events changes a row here. No index has a column that such a change touches, and pages have room
-- for the next version: so the change stays within its page, and indexes are left alone.
CREATE TABLE runs (
    id             text PRIMARY KEY,
    owner          text NOT NULL,
    status         text NOT NULL,
    epoch          integer NOT NULL,
    last_seq       bigint NOT NULL,
    worker         text,
    lease_until    double precision NOT NULL,
    attempt        integer NOT NULL,
    is_shown       boolean NOT NULL,
    is_public      boolean NOT NULL,
    has_effect     boolean NOT NULL,
    priority       integer NOT NULL,
    created_at     double precision NOT NULL,
    queue_deadline double precision NOT NULL,
    deadline       double precision NOT NULL,
    provider       text,  -- where the answer is carried on whoever listens, under which id, and up to which event
    upstream_id    text,
    upstream_seq   bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX runs_queued ON runs (queue_deadline) WHERE status = 'queued';
CREATE INDEX runs_queued_by_owner ON runs (owner, priority DESC, created_at) WHERE status = 'queued';
CREATE INDEX runs_in_progress ON runs (created_at) WHERE status = 'in_progress';
CREATE INDEX runs_in_progress_by_owner ON runs (owner) WHERE status = 'in_progress';
CREATE INDEX runs_ended ON runs (created_at) WHERE status NOT IN ('queued', 'in_progress');

CREATE TABLE run_requests (
    id      text PRIMARY KEY,
    request bytea NOT NULL,
    history bytea,
    conversation text,
    given   bigint NOT NULL DEFAULT 0
);

CREATE TABLE run_events (
    id    text NOT NULL,
    seq   bigint NOT NULL,
    time  bigint NOT NULL,
    frame bytea NOT NULL,
    PRIMARY KEY (id, seq)
);

CREATE TABLE conversations (
    id           text PRIMARY KEY,
    owner        text NOT NULL,
    created_at   bigint NOT NULL,
    metadata     bytea NOT NULL,
    touched_at   double precision NOT NULL,
    deleted_at   double precision,
    next_place   bigint NOT NULL DEFAULT 0,
    holder       text,
    locked_until double precision NOT NULL DEFAULT 0  -- by this database's clock
);

CREATE TABLE conversation_items (
    conversation text NOT NULL,
    place        bigint NOT NULL,
    owner        text NOT NULL,
    id           text NOT NULL,
    item         bytea NOT NULL,
    PRIMARY KEY (conversation, place)
);
CREATE UNIQUE INDEX conversation_items_by_id ON conversation_items (owner, id);

CREATE TABLE recording_items (
    id           text NOT NULL,
    recording_id text NOT NULL REFERENCES recordings (id) ON DELETE CASCADE,
    PRIMARY KEY (id, recording_id)
);
CREATE INDEX recording_items_by_recording ON recording_items (recording_id);

CREATE TABLE deleted_recordings (
    recording_id text PRIMARY KEY,
    deleted_at   double precision NOT NULL
);
CREATE INDEX deleted_recordings_by_time ON deleted_recordings (deleted_at);

CREATE TABLE upstream_responses (
    id         text NOT NULL,
    owner      text NOT NULL,
    provider   text NOT NULL,
    expires_at double precision NOT NULL,
    PRIMARY KEY (id, owner)
);
CREATE INDEX upstream_responses_by_expiry ON upstream_responses (expires_at);

CREATE TABLE usage (
    id text PRIMARY KEY, time double precision NOT NULL, key text NOT NULL, project text NOT NULL, owner text NOT NULL,
    alias text NOT NULL, provider text NOT NULL, model text NOT NULL, dialect text NOT NULL,
    route text NOT NULL, stream boolean NOT NULL, status integer NOT NULL, cache text NOT NULL,
    input_tokens bigint NOT NULL, output_tokens bigint NOT NULL, total_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL, cache_write_tokens bigint NOT NULL, reasoning_tokens bigint NOT NULL,
    audio_input_tokens bigint NOT NULL, audio_output_tokens bigint NOT NULL,
    cost double precision, cost_saved double precision, first_byte_us bigint, last_byte_us bigint NOT NULL,
    error text, answer_id text
);

CREATE TABLE secrets (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE worker_metrics (
    worker   text PRIMARY KEY,
    time     double precision NOT NULL,
    snapshot bytea NOT NULL
);

-- What follows walks from the last item towards the first, always: so no two who walk wait for each other.

-- Write items that come one after the other, and hold the last. False: what the first is to come after is not there,
-- and nothing was done.
CREATE FUNCTION keep_history_v1(
    ids bytea[], depths bigint[], sizes bigint[], items bytea[], item_ids text[], before bytea
)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now_held integer;
    added bigint := 0;
    is_whole boolean := false;
BEGIN
    IF before IS NOT NULL AND NOT EXISTS (SELECT FROM history WHERE id = before) THEN
        RETURN false;
    END IF;
    FOR place IN REVERSE cardinality(ids)..1 LOOP
        INSERT INTO history AS known (id, previous, depth, size, holders, item, item_id)
        VALUES (
            ids[place], CASE place WHEN 1 THEN before ELSE ids[place - 1] END,
            depths[place], sizes[place], 1, items[place], item_ids[place]
        )
        ON CONFLICT (id) DO UPDATE SET holders = known.holders + 1
        RETURNING holders INTO now_held;
        is_whole := now_held > 1;
        EXIT WHEN is_whole;
        added := added + 128 + length(items[place]);
    END LOOP;
    IF added > 0 THEN
        INSERT INTO total_changes VALUES (added);
    END IF;
    IF before IS NOT NULL AND NOT is_whole THEN
        UPDATE history SET holders = holders + 1 WHERE id = before;
        IF NOT FOUND THEN
            RAISE serialization_failure;  -- it went meanwhile: once more, from the beginning
        END IF;
    END IF;
    RETURN true;
END
$$;

-- Let go of a history: what nothing leads to any more is deleted.
CREATE FUNCTION release_history_v1(head bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    still_held integer;
    freed bigint := 0;
    length_of_item bigint;
BEGIN
    WHILE head IS NOT NULL LOOP
        UPDATE history SET holders = holders - 1 WHERE id = head RETURNING holders INTO still_held;
        EXIT WHEN NOT FOUND OR still_held > 0;
        DELETE FROM history WHERE id = head RETURNING previous, length(item) INTO head, length_of_item;
        freed := freed + 128 + length_of_item;
    END LOOP;
    IF freed > 0 THEN
        INSERT INTO total_changes VALUES (-freed);
    END IF;
END
$$;

-- Who is to be told that a run has ended: written with the run, and due by the transaction that ends it.
CREATE TABLE webhook_notices (
    id       text PRIMARY KEY,
    run_id   text NOT NULL,
    hook     text NOT NULL,
    status   text,
    ended_at double precision,
    attempt  integer NOT NULL DEFAULT 0,
    due_at   double precision NOT NULL DEFAULT 0
);
CREATE INDEX webhook_notices_by_run ON webhook_notices (run_id);
CREATE INDEX webhook_notices_due ON webhook_notices (due_at) WHERE status IS NOT NULL;
CREATE FUNCTION end_notices_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE webhook_notices SET status = NEW.status WHERE run_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE FUNCTION delete_notices_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM webhook_notices WHERE run_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER runs_end_notices AFTER UPDATE OF status ON runs FOR EACH ROW
WHEN (NEW.status NOT IN ('queued', 'in_progress')) EXECUTE FUNCTION end_notices_v1();
CREATE TRIGGER runs_delete_notices AFTER DELETE ON runs FOR EACH ROW
WHEN (OLD.status IN ('queued', 'in_progress')) EXECUTE FUNCTION delete_notices_v1();
