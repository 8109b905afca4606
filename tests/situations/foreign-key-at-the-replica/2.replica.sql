CREATE TABLE somebodys (Id int PRIMARY KEY, P int, CONSTRAINT of_parent FOREIGN KEY (P) REFERENCES parent (Id)) ENGINE=InnoDB;
INSERT INTO somebodys VALUES (1, 1);
