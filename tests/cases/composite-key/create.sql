CREATE TABLE pair (a int NOT NULL, b varchar(10) NOT NULL, v double, PRIMARY KEY (a, b), KEY by_v (v), UNIQUE KEY by_b (b, a)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
