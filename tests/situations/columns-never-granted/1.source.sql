CREATE TABLE part (A int, B int, V int, PRIMARY KEY (A, B)) ENGINE=InnoDB;
INSERT INTO part VALUES (1, 1, 1), (1, 2, 2);
CREATE TABLE whole (A int PRIMARY KEY, V int) ENGINE=InnoDB;
INSERT INTO whole VALUES (1, 1);
DROP USER IF EXISTS part_reader;
CREATE USER part_reader IDENTIFIED BY 'part';
GRANT SELECT (A, V) ON part TO part_reader;
GRANT SELECT ON whole TO part_reader;
