INSERT INTO derived (Num, a) VALUES (1, 7), (2, NULL);
