CREATE TABLE small_types (Num bigint NOT NULL, y year, PRIMARY KEY (Num)) ENGINE=MyISAM;
