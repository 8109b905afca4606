CREATE TABLE keyed (Id int PRIMARY KEY, V varchar(9)) ENGINE=InnoDB;
INSERT INTO keyed SELECT seq, 'x' FROM seq_1_to_300;
CREATE TABLE by_text (Id varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, V varchar(9)) ENGINE=InnoDB;
INSERT INTO by_text SELECT seq, 'x' FROM seq_1_to_300;
CREATE TABLE keyless (a int) ENGINE=InnoDB;
INSERT INTO keyless VALUES (1), (1);
