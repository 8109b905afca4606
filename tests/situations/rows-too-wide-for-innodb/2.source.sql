INSERT INTO quiz (Id, q1) VALUES (2, 1);
UPDATE letter SET f2 = 'y';
