CREATE TABLE child (Id int PRIMARY KEY, Born date NOT NULL, N varchar(9), Age smallint AS (TIMESTAMPDIFF(YEAR, Born, CURDATE())) VIRTUAL, KEY (Born)) ENGINE=MyISAM;
INSERT INTO child (Id, Born) VALUES (1, '2020-01-01'), (2, '1990-06-01');
CREATE TABLE ticker (Id int PRIMARY KEY, N varchar(9), SeenAt datetime(6) AS (NOW(6)) VIRTUAL, Chance double AS (RAND()) VIRTUAL) ENGINE=InnoDB;
INSERT INTO ticker (Id) VALUES (1), (2);
CREATE TABLE plainly (Id int PRIMARY KEY, Twice int AS (Id * 2) VIRTUAL, Now_ varchar(20) AS (CONCAT('now()', Id)) VIRTUAL) ENGINE=InnoDB;
INSERT INTO plainly (Id) VALUES (1), (2);
