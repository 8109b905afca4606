ALTER TABLE parent ADD B int;
