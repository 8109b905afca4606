INSERT INTO zeroed VALUES (0, 7), (1, 8);
