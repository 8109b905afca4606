CREATE TABLE fine (Num bigint NOT NULL, a datetime(3), b datetime(6), c timestamp(6) NULL, d datetime, PRIMARY KEY (Num)) ENGINE=MyISAM;
