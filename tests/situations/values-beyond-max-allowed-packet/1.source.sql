CREATE TABLE letter (Id int PRIMARY KEY, B longblob, T longtext CHARACTER SET utf8mb4) ENGINE=InnoDB;
CREATE TABLE another LIKE letter;
INSERT INTO letter VALUES (1, REPEAT('ab', 750000), REPEAT('cd', 750000)), (2, 'x', 'y');
INSERT INTO another VALUES (1, REPEAT('ef', 750000), REPEAT('gh', 750000));
