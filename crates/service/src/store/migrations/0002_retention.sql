-- What retention needs.

-- The live tasks: what a start reads, and whether a deleted function is needed still.
CREATE INDEX tasks_live ON tasks(function) WHERE state = 0;

-- Bytes of the user's results up to this one, their tasks' arguments included: what lies between two is a difference.
ALTER TABLE results ADD COLUMN total INTEGER NOT NULL DEFAULT 0;

-- The highest numbers of rows that were removed: they are not given again.
ALTER TABLE users ADD COLUMN last_task INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_result INTEGER NOT NULL DEFAULT 0;

-- Who needs a payload file or a body. functions.deleted is the time of the deletion, 0 before.
CREATE INDEX args_file ON args(file) WHERE file IS NOT NULL;
CREATE INDEX results_file ON results(file) WHERE file IS NOT NULL;
CREATE INDEX functions_hash ON functions(hash);
CREATE INDEX functions_deleted ON functions(deleted) WHERE deleted > 0;
