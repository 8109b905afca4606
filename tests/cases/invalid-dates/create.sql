CREATE TABLE calendar (Num int NOT NULL, D date, DT datetime, DT3 datetime(3), PRIMARY KEY (Num)) ENGINE=MyISAM;
