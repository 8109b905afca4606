ALTER TABLE zed ADD COLUMN extra int;
