-- Containers.

-- Images in which functions run. Kind and location never change. deleted: the row stays, since accepted tasks and
-- functions name it.
CREATE TABLE containers (
    no          INTEGER PRIMARY KEY,
    container   BLOB NOT NULL UNIQUE,
    user_no     INTEGER NOT NULL REFERENCES users(no),
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    location    TEXT NOT NULL,
    description TEXT NOT NULL,
    registered  INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX containers_of ON containers(user_no, no) WHERE deleted = 0;

-- Where a function is called unless the call says otherwise; NULL: the endpoint's own environment.
ALTER TABLE functions ADD COLUMN container BLOB;
