CREATE TABLE money (Num bigint NOT NULL, d double NOT NULL, f float NOT NULL, x decimal(10,2), w decimal(65,30), n decimal(20,12), PRIMARY KEY (Num)) ENGINE=MyISAM;
