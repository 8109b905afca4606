CREATE TABLE chair (Id int PRIMARY KEY, V varchar(10)) ENGINE=MyISAM;
INSERT INTO chair SELECT seq, 'x' FROM seq_1_to_500;
CREATE TABLE lamp (Id int PRIMARY KEY, V varchar(10)) ENGINE=InnoDB;
INSERT INTO lamp SELECT seq, 'x' FROM seq_1_to_500;
