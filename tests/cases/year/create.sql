CREATE TABLE small_types (Num bigint NOT NULL, y year, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO small_types VALUES (1, 2024), (2, 1901), (3, 2155), (4, NULL);
