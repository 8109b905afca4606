DO $$ BEGIN IF (SELECT relispopulated FROM pg_class WHERE oid = 'marts.seen'::regclass) THEN RAISE 'it was filled'; END IF; END $$;
DROP SCHEMA marts CASCADE;
