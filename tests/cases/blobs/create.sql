CREATE TABLE files (DocNum bigint NOT NULL, Data longblob NOT NULL, Thumbnail longblob, v varbinary(10), PRIMARY KEY (DocNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO files VALUES (1, UNHEX('00FF0A0D5C2722092C1A'), NULL, ''), (2, '', REPEAT(UNHEX('DEADBEEF00'), 200000), UNHEX('00')), (3, 'NULL', 'text', NULL);
