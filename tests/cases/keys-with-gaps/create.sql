CREATE TABLE gappy (Num int unsigned NOT NULL, v varchar(10), PRIMARY KEY (Num)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO gappy VALUES (1, 'a'), (2, 'b'), (3, 'c'), (1000000, 'd'), (4000000000, 'e'), (4294967295, 'f');
