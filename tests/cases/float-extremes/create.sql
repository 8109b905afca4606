CREATE TABLE floats (Num int NOT NULL, f float, d double, fu float unsigned, f73 float(7,3), d102 double(10,2), PRIMARY KEY (Num)) ENGINE=MyISAM;
