DELETE FROM parent WHERE Id = 2;
UPDATE parent SET Id = 9 WHERE Id = 4;
