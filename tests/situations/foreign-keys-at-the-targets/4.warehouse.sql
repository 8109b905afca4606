ALTER TABLE raw.child DROP CONSTRAINT of_parent;
