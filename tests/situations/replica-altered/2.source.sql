UPDATE letters SET T = REPEAT('x', 70000);
UPDATE watched SET V = 'x' WHERE Id = 1;
UPDATE checked SET A = 7;
