CREATE TABLE visit (Id int PRIMARY KEY, V varchar(9)) ENGINE=InnoDB;
INSERT INTO visit SELECT seq, 'x' FROM seq_1_to_300;
