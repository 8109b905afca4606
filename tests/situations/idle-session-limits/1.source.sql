SET GLOBAL wait_timeout = 3;
CREATE TABLE indexed (Id int PRIMARY KEY, A int, B varchar(40), KEY a (A), KEY b (B), KEY ab (A, B)) ENGINE=InnoDB;
INSERT INTO indexed SELECT seq, seq * 7919 % 100003, MD5(seq) FROM seq_1_to_60000;
