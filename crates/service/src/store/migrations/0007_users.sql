-- Users.

-- admin: may manage users and groups. active: 0 ends all tokens of the user at once; what he has stays. kind: 0 a person,
-- 1 a service account.
ALTER TABLE users ADD COLUMN admin INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN active INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX users_name ON users(name);
UPDATE users SET admin = 1 WHERE no = (SELECT min(no) FROM users);

-- Who a user is elsewhere: an issuer's subject is one user here.
CREATE TABLE identities (
    issuer   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    user_no  INTEGER NOT NULL REFERENCES users(no),
    username TEXT NOT NULL,
    seen     INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE INDEX identities_of ON identities(user_no);

-- The groups that an issuer says a subject is in.
CREATE TABLE claims (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    claim   TEXT NOT NULL,
    PRIMARY KEY (issuer, subject, claim)
) WITHOUT ROWID;

-- scopes: words between blanks. expires: NULL for never. used: the last use, at most a minute before it.
ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'functions:register functions:read containers:register endpoints:manage endpoints:read tasks:submit tasks:read tokens:manage secrets:manage';
ALTER TABLE tokens ADD COLUMN expires INTEGER;
ALTER TABLE tokens ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
UPDATE tokens SET scopes = scopes || ' admin' WHERE user_no = (SELECT min(no) FROM users);

-- Groups of users: members by name, and everybody of whom the issuer says so. issuer and claim: NULL without one.
CREATE TABLE user_groups (
    no      INTEGER PRIMARY KEY,
    grp     BLOB NOT NULL UNIQUE,
    name    TEXT NOT NULL UNIQUE,
    user_no INTEGER NOT NULL REFERENCES users(no),
    issuer  TEXT,
    claim   TEXT,
    created INTEGER NOT NULL
);
CREATE INDEX user_groups_claim ON user_groups(issuer, claim) WHERE claim IS NOT NULL;
CREATE TABLE members (
    user_no  INTEGER NOT NULL REFERENCES users(no),
    group_no INTEGER NOT NULL REFERENCES user_groups(no),
    PRIMARY KEY (user_no, group_no)
) WITHOUT ROWID;
CREATE INDEX members_of ON members(group_no);
