CREATE TABLE office (Id int PRIMARY KEY, At point NOT NULL, N varchar(20)) ENGINE=InnoDB;
INSERT INTO office VALUES (1, ST_GeomFromText('POINT(1 2)'), 'a'), (2, ST_GeomFromText('POINT(3 4)'), 'b');
