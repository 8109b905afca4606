CREATE TABLE raw_email (Num bigint NOT NULL, T text, V varchar(50), PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO raw_email VALUES (1, 'a\0b', 'plain'), (2, '\0', NULL), (3, 'plain', 'plain');
