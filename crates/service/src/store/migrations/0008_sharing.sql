-- Sharing.

-- What is shared with whom. thing: 1 function, 2 container, 3 endpoint, 4 group of tasks. Ids of some of them come from
-- clients: one of one kind says nothing of another. kind: 0 everybody, 1 user, 2 group of users. role: 0 uses it, 1
-- administers it. Of endpoints: functions: their ids one after another, NULL for any; core_ms in each period (1 day, 2
-- week); at_once: tasks of each user.
CREATE TABLE shares (
    thing     INTEGER NOT NULL,
    object    BLOB NOT NULL,
    kind      INTEGER NOT NULL,
    who       INTEGER NOT NULL,
    role      INTEGER NOT NULL,
    functions BLOB,
    core_ms   INTEGER,
    period    INTEGER,
    at_once   INTEGER,
    made      INTEGER NOT NULL,
    PRIMARY KEY (thing, object, kind, who)
) WITHOUT ROWID;
CREATE INDEX shares_with ON shares(kind, who, thing);

-- The only functions that an endpoint runs; none: it runs any.
CREATE TABLE allowed (
    endpoint BLOB NOT NULL,
    function BLOB NOT NULL,
    PRIMARY KEY (endpoint, function)
) WITHOUT ROWID;

-- Core-microseconds by day, of endpoints that were shared for so many of them. day: since 1970.
CREATE TABLE core_use (
    endpoint BLOB NOT NULL,
    user_no  INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    core_us  INTEGER NOT NULL,
    PRIMARY KEY (endpoint, user_no, day)
) WITHOUT ROWID;
