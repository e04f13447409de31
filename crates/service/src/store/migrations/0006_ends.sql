-- A task's row is written once, with its arguments; what comes later is beside it.

-- Where the records of 128 tasks are. block: tasks.id >> 7; slots: 6 bytes for each, by the low 7 bits of tasks.id, the
-- number of its result << 2 | state (1 success, 2 failed, 3 cancelled), or 0: a task with a row there is live.
CREATE TABLE ends (
    block INTEGER PRIMARY KEY,
    slots BLOB NOT NULL
);
WITH RECURSIVE places(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM places WHERE n < 127)
INSERT INTO ends
SELECT b.block, unhex(group_concat(printf('%012x', ifnull(t.seq << 2 | t.state, 0)), '' ORDER BY n))
FROM (SELECT DISTINCT id >> 7 AS block FROM tasks WHERE state > 0) b CROSS JOIN places
LEFT JOIN tasks t ON t.id = (b.block << 7) + n
GROUP BY b.block;

-- All of the user's tasks up to this number have ended: a start looks at those behind it.
ALTER TABLE users ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;

-- Executions that counted against live tasks.
CREATE TABLE charges (
    id     INTEGER PRIMARY KEY,
    losses INTEGER NOT NULL,
    maybes INTEGER NOT NULL,
    errors INTEGER NOT NULL
);
INSERT INTO charges SELECT id, losses, maybes, errors FROM tasks
WHERE state = 0 AND (losses > 0 OR maybes > 0 OR errors > 0);

-- spec: what nobody searches by, packed: group, function, endpoint, retries, retry_on_error, timeout_ms (all ones: none),
-- deadline, submitted, bytes of the arguments, and the container if there is one. The arguments are here or a payload file.
CREATE TABLE accepted (
    id   INTEGER PRIMARY KEY,
    task BLOB NOT NULL UNIQUE,
    spec BLOB NOT NULL,
    memo BLOB,
    file BLOB,
    data BLOB
);
INSERT INTO accepted
SELECT id, task, unhex(hex(grp) || hex(function) || hex(endpoint)
       || printf('%08x%08x%016x%016x%016x%016x', retries, retry_on_error, ifnull(timeout_ms, -1), deadline, submitted, size)
       || hex(ifnull(container, x''))), memo, file, data
FROM tasks JOIN args USING (id) ORDER BY id;
DROP TABLE args;
DROP TABLE tasks;
ALTER TABLE accepted RENAME TO tasks;
CREATE INDEX tasks_file ON tasks(file) WHERE file IS NOT NULL;

-- record: task, group, state, memo, starts, ended, run_ns, total and timings, packed.
CREATE TABLE recorded (
    id      INTEGER PRIMARY KEY,
    record  BLOB NOT NULL,
    failure BLOB,
    output  BLOB,
    file    BLOB,
    data    BLOB
);
INSERT INTO recorded
SELECT id, unhex(hex(task) || hex(grp) || printf('%02x%02x%08x%016x%016x%016x', state, memo, starts, ended, run_ns, total)
       || hex(ifnull(timings, x''))), failure, output, file, data
FROM results ORDER BY id;
DROP TABLE results;
ALTER TABLE recorded RENAME TO results;
CREATE INDEX results_file ON results(file) WHERE file IS NOT NULL;
