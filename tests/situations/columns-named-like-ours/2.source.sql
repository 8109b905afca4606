INSERT INTO calls VALUES (3, 'c');
INSERT INTO photo VALUES ('y', 2);
INSERT INTO stop VALUES ('y', 1, 2, 3);
INSERT INTO dated VALUES ('2021-01-01', 3);
DELETE FROM keyed WHERE g = 2;
UPDATE keyed SET t = 5;
