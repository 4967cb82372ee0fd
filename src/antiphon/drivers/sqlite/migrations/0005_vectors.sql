-- oldest program: 1
-- The semantic level of the cache: texts whose answers are cached, near each other where their vectors are.
CREATE TABLE semantic_vectors (
    -- Never used twice: whoever has those up to a number asks for those after it.
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    partition  BLOB NOT NULL,
    digest     BLOB NOT NULL UNIQUE,
    code       BLOB NOT NULL,
    vector     BLOB NOT NULL,
    text       TEXT NOT NULL,
    expires_at REAL NOT NULL
);
-- With the code: a partition is read from this index and not from the table.
CREATE INDEX semantic_vectors_by_partition ON semantic_vectors (partition, number, code);
CREATE INDEX semantic_vectors_by_expiry ON semantic_vectors (expires_at);

-- What has lost its entry, unless another was put in its place.
CREATE TABLE released_vectors (digest BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER cache_entries_release_vectors AFTER DELETE ON cache_entries
WHEN EXISTS (SELECT 1 FROM semantic_vectors WHERE digest = OLD.digest)
BEGIN
    INSERT INTO released_vectors (digest) VALUES (OLD.digest) ON CONFLICT DO NOTHING;
END;

-- How alike two texts were, and whether their answers were the same.
CREATE TABLE semantic_evidence (
    id         INTEGER PRIMARY KEY,
    model      TEXT NOT NULL,
    similarity REAL NOT NULL,
    agreed     INTEGER NOT NULL,
    source     TEXT NOT NULL,
    time       REAL NOT NULL
);
