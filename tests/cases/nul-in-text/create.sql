CREATE TABLE raw_email (Num bigint NOT NULL, T text, V varchar(50), PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
