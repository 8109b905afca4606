INSERT INTO raw_email VALUES (1, 'a\0b', 'plain'), (2, '\0', NULL), (3, 'plain', 'plain');
