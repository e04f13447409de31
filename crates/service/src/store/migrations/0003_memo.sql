-- Memoization.

-- Results that later calls of the same user may have: one for each key, which is a hash of user, function, endpoint,
-- container and arguments. The row's id is the key's first 63 bits: finding one is one look, without an index. Of two
-- keys that share them the newer replaces the older. used: the last hit, or a time shortly before it.
CREATE TABLE memo (
    id       INTEGER PRIMARY KEY,
    key      BLOB NOT NULL,
    user_no  INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    python   TEXT NOT NULL,
    made     INTEGER NOT NULL,
    used     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    data     BLOB,
    file     BLOB
);
CREATE INDEX memo_used ON memo(user_no, used);
CREATE INDEX memo_file ON memo(file) WHERE file IS NOT NULL;

-- What a user has there: running sums.
ALTER TABLE users ADD COLUMN memo_entries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN memo_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN memo_hits INTEGER NOT NULL DEFAULT 0;

-- The key of a task that takes part, and how it did. results.memo: 0 not, 1 its result was stored, 2 it is a hit.
ALTER TABLE tasks ADD COLUMN memo BLOB;
ALTER TABLE results ADD COLUMN memo INTEGER NOT NULL DEFAULT 0;

-- The Python of the endpoint's workers when its manager was seen last.
ALTER TABLE endpoints ADD COLUMN python TEXT NOT NULL DEFAULT '';
