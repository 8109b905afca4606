CREATE TABLE bak_20200424 (PatNum bigint NOT NULL, Note varchar(100)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO bak_20200424 VALUES (1, 'twice'), (1, 'twice'), (2, NULL), (0, '');
