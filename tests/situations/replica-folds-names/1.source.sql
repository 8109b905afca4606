CREATE TABLE VisitType (Id int PRIMARY KEY, T varchar(9)) ENGINE=InnoDB;
INSERT INTO VisitType VALUES (1, 'a'), (2, 'b');
CREATE TABLE lower (Id int PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO lower VALUES (1);
