CREATE TABLE seat (Id int PRIMARY KEY, C varchar(9) NOT NULL, UNIQUE KEY one (C)) ENGINE=InnoDB;
INSERT INTO seat VALUES (1, 'a'), (2, 'b');
CREATE TABLE spot (Id int PRIMARY KEY, R int, C varchar(9), UNIQUE KEY one (C)) ENGINE=MyISAM;
INSERT INTO spot VALUES (1, 1, 'a');
CREATE TABLE part (N varchar(40) NOT NULL, V int, PRIMARY KEY (N(3))) ENGINE=InnoDB;
INSERT INTO part VALUES ('abcdef', 1);
