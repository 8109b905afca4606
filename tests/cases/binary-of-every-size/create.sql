CREATE TABLE bytes (Num int NOT NULL, b1 binary(1), b16 binary(16), b255 binary(255), v varbinary(255), t1 tinyblob, t2 blob, t3 mediumblob, t4 longblob, PRIMARY KEY (Num)) ENGINE=MyISAM;
