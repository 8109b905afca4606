CREATE TABLE documents (Num int NOT NULL, j json, k json, PRIMARY KEY (Num)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
