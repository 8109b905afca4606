CREATE TABLE gappy (Num int unsigned NOT NULL, v varchar(10), PRIMARY KEY (Num)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
