CREATE TABLE files (DocNum bigint NOT NULL, Data longblob NOT NULL, Thumbnail longblob, v varbinary(10), PRIMARY KEY (DocNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
