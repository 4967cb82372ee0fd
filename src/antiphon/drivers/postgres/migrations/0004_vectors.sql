-- oldest program: 1
-- The semantic level of the cache: texts whose answers are cached, near each other where their vectors are.
CREATE TABLE semantic_vectors (
    -- Never used twice: whoever has those up to a number asks for those after it.
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition  bytea NOT NULL,
    digest     bytea NOT NULL UNIQUE,
    code       bytea NOT NULL,
    vector     bytea NOT NULL,
    text       text NOT NULL,
    expires_at double precision NOT NULL
);
-- With the code: a partition is read from this index and not from the table.
CREATE INDEX semantic_vectors_by_partition ON semantic_vectors (partition, number) INCLUDE (code);
CREATE INDEX semantic_vectors_by_expiry ON semantic_vectors (expires_at);
-- Vectors do not get smaller by being compressed.
ALTER TABLE semantic_vectors ALTER COLUMN vector SET STORAGE EXTERNAL;

-- What has lost its entry, unless another was put in its place.
CREATE TABLE released_vectors (digest bytea NOT NULL);
CREATE FUNCTION cache_entries_release_vectors_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO released_vectors SELECT OLD.digest
    WHERE EXISTS (SELECT FROM semantic_vectors WHERE digest = OLD.digest);
    RETURN NULL;
END
$$;
CREATE TRIGGER cache_entries_release_vectors AFTER DELETE ON cache_entries
FOR EACH ROW EXECUTE FUNCTION cache_entries_release_vectors_v1();

-- How alike two texts were, and whether their answers were the same.
CREATE TABLE semantic_evidence (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model      text NOT NULL,
    similarity double precision NOT NULL,
    agreed     boolean NOT NULL,
    source     text NOT NULL,
    time       double precision NOT NULL
);
