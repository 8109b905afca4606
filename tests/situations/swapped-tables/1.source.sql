CREATE TABLE room_a (Id int PRIMARY KEY, V varchar(9)) ENGINE=MyISAM;
CREATE TABLE room_b LIKE room_a;
CREATE TABLE room_c LIKE room_a;
INSERT INTO room_a VALUES (1, 'a');
INSERT INTO room_b VALUES (1, 'b');
INSERT INTO room_c VALUES (1, 'c');
