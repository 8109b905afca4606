CREATE TABLE pair (a int NOT NULL, b varchar(10) NOT NULL, v double, PRIMARY KEY (a, b), KEY by_v (v), UNIQUE KEY by_b (b, a)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO pair VALUES (1, 'x', 1e300), (1, 'y', -0.1), (2, 'x', NULL), (3, '', 1e-7);
