DELETE FROM raw.child WHERE "P" NOT IN (SELECT "Id" FROM raw.parent);
ALTER TABLE raw.child ADD CONSTRAINT of_parent FOREIGN KEY ("P") REFERENCES raw.parent ("Id") ON DELETE SET NULL;
