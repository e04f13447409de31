-- Whether the endpoint takes calls of others than its owner, as its last manager said.
ALTER TABLE endpoints ADD COLUMN guests INTEGER NOT NULL DEFAULT 0;
