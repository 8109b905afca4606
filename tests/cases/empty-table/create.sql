CREATE TABLE nothing (Num bigint NOT NULL, Note text, PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
CREATE TABLE nothing_innodb (Num bigint NOT NULL, Note text, PRIMARY KEY (Num)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
