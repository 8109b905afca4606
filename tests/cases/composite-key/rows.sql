INSERT INTO pair VALUES (1, 'x', 1e300), (1, 'y', -0.1), (2, 'x', NULL), (3, '', 1e-7);
