CREATE TABLE key_zero (d date NOT NULL, n int NOT NULL, PRIMARY KEY (d, n)) ENGINE=MyISAM;
CREATE TABLE key_nul (k varchar(20) CHARACTER SET utf8 COLLATE utf8_bin NOT NULL, v int, PRIMARY KEY (k)) ENGINE=MyISAM;
CREATE TABLE key_long (k varbinary(767) NOT NULL, l varbinary(767) NOT NULL, m varbinary(767) NOT NULL, o varbinary(767) NOT NULL, PRIMARY KEY (k, l, m, o)) ENGINE=InnoDB;
