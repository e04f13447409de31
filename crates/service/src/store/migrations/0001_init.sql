-- The first schema.
--
-- Ids are 16-byte blobs, hashes 32, times milliseconds since 1970.
-- Rows of a user share the upper bits of their rowid: id = (users.no << 40) | n with n = 1, 2, 3 … per user, so that
-- "this user's rows after n" is one range of the table and needs no index. For results, n is the cursor of the stream.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0);

CREATE TABLE users (
    no      INTEGER PRIMARY KEY,
    user    BLOB NOT NULL UNIQUE,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL
);

CREATE TABLE tokens (
    token   BLOB PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,
    user_no INTEGER NOT NULL REFERENCES users(no),
    name    TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- A body is stored once per hash: here, or (data is NULL) as a payload file of that hash.
CREATE TABLE bodies (
    hash BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    data BLOB
);

CREATE TABLE functions (
    no          INTEGER PRIMARY KEY,
    function    BLOB NOT NULL UNIQUE,
    user_no     INTEGER NOT NULL REFERENCES users(no),
    hash        BLOB NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    python      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    registered  INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX functions_of ON functions(user_no, no) WHERE deleted = 0;

CREATE TABLE endpoints (
    no          INTEGER PRIMARY KEY,
    endpoint    BLOB NOT NULL UNIQUE,
    user_no     INTEGER NOT NULL REFERENCES users(no),
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    public_key  TEXT NOT NULL UNIQUE,
    generation  INTEGER NOT NULL DEFAULT 0,
    registered  INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX endpoints_of ON endpoints(user_no, no) WHERE deleted = 0;

CREATE TABLE groups (
    grp     BLOB PRIMARY KEY,
    user_no INTEGER NOT NULL REFERENCES users(no),
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- The tasks of a group as ranges of tasks.id: one row per run of submits, not per task.
CREATE TABLE ranges (
    grp   BLOB NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    PRIMARY KEY (grp, first)
) WITHOUT ROWID;

-- state: 0 live, 1 success, 2 failed, 3 cancelled; seq: the result's number, 0 while live.
CREATE TABLE tasks (
    id             INTEGER PRIMARY KEY,
    task           BLOB NOT NULL UNIQUE,
    state          INTEGER NOT NULL DEFAULT 0,
    seq            INTEGER NOT NULL DEFAULT 0,
    grp            BLOB NOT NULL,
    function       BLOB NOT NULL,
    endpoint       BLOB NOT NULL,
    container      BLOB,
    retries        INTEGER NOT NULL,
    retry_on_error INTEGER NOT NULL,
    timeout_ms     INTEGER,
    deadline       INTEGER NOT NULL,
    submitted      INTEGER NOT NULL,
    losses         INTEGER NOT NULL DEFAULT 0,
    maybes         INTEGER NOT NULL DEFAULT 0,
    errors         INTEGER NOT NULL DEFAULT 0
);

-- Arguments, apart from the row that End rewrites: here, or as a payload file.
CREATE TABLE args (
    id   INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    data BLOB,
    file BLOB
);

CREATE TABLE results (
    id      INTEGER PRIMARY KEY,
    task    BLOB NOT NULL,
    grp     BLOB NOT NULL,
    state   INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    run_ns  INTEGER NOT NULL,
    starts  INTEGER NOT NULL,
    failure BLOB,
    output  BLOB,
    data    BLOB,
    file    BLOB
);
