INSERT INTO small_types VALUES (1, 2024), (2, 1901), (3, 2155), (4, NULL), (5, 0);
