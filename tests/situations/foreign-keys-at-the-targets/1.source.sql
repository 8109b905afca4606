CREATE TABLE parent (Id int PRIMARY KEY, A int) ENGINE=InnoDB;
INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3), (4, 4);
CREATE TABLE child (Id int PRIMARY KEY, P int, KEY (P)) ENGINE=MyISAM;
INSERT INTO child VALUES (1, 1), (2, 2), (3, 3), (4, 4);
CREATE TABLE heir (Id int PRIMARY KEY, P int, KEY (P)) ENGINE=InnoDB;
INSERT INTO heir VALUES (1, 1), (2, 2), (3, 3), (4, 4);
