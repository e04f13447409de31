-- Secrets.

-- sealed: by the key of the service's home, which is not in the database: a nonce, and what AES-256-GCM makes of the value.
CREATE TABLE secrets (
    no      INTEGER PRIMARY KEY,
    user_no INTEGER NOT NULL REFERENCES users(no),
    name    TEXT NOT NULL,
    sealed  BLOB NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (user_no, name)
);

-- Which of their owner's calls have them: those of functions with this body. endpoints: where, beside his own: ids one
-- after another, NULL for nowhere.
CREATE TABLE secret_grants (
    secret_no INTEGER NOT NULL REFERENCES secrets(no),
    function  BLOB NOT NULL,
    hash      BLOB NOT NULL,
    endpoints BLOB,
    PRIMARY KEY (secret_no, function)
) WITHOUT ROWID;
CREATE INDEX secret_grants_to ON secret_grants(hash);
