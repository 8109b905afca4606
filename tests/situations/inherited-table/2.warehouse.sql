CREATE SCHEMA IF NOT EXISTS others;
CREATE TABLE others.more () INHERITS (raw.visit);
INSERT INTO others.more VALUES (1, 'theirs'), (500, 'theirs');
CREATE TABLE others.others () INHERITS (raw.keyless);
INSERT INTO others.others VALUES ('theirs');
