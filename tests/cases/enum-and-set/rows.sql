INSERT INTO choice VALUES (1, 'Yes', 'a,c', 'ab'), (2, 'it''s, "odd"', '', ''), (3, NULL, NULL, NULL);
