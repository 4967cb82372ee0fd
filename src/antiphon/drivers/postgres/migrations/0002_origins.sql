-- oldest program: 1
-- What cache entries are selected by. Programs that do not know these columns leave them as they are by default.
ALTER TABLE cache_entries
    ADD COLUMN scope text NOT NULL DEFAULT '',
    ADD COLUMN target text NOT NULL DEFAULT '',
    ADD COLUMN model text NOT NULL DEFAULT '',
    ADD COLUMN prompt text NOT NULL DEFAULT '',
    ADD COLUMN keep_until double precision NOT NULL DEFAULT 0,
    ADD COLUMN is_pinned boolean NOT NULL DEFAULT false;

-- Equal requests in flight: who asks the upstream, who follows, and what these are told. Nothing of it outlives a crash.
CREATE UNLOGGED TABLE flights (
    flight      bytea PRIMARY KEY,
    epoch       text NOT NULL,
    leader      text NOT NULL,
    lease_until double precision NOT NULL
);
CREATE UNLOGGED TABLE flight_followers (
    epoch   text NOT NULL,
    process text NOT NULL,
    until   double precision NOT NULL,
    PRIMARY KEY (epoch, process)
);
CREATE UNLOGGED TABLE flight_pieces (
    epoch   text NOT NULL,
    number  integer NOT NULL,
    piece   bytea NOT NULL,
    told_at double precision NOT NULL,
    PRIMARY KEY (epoch, number)
);
