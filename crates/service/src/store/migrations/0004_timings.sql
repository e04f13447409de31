-- Where the time of a task went (`bursa_core::timings`); NULL: not known.
ALTER TABLE results ADD COLUMN timings BLOB;
