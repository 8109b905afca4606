INSERT INTO coded VALUES ('D0120', 1), ('d0121', 2), ('', 3);
