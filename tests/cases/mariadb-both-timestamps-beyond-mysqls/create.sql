CREATE TABLE clockevent (Num bigint NOT NULL, U time(6), V time(3), PRIMARY KEY (Num)) ENGINE=MyISAM;
