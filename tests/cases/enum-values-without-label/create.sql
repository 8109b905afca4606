CREATE TABLE lenient (Num int NOT NULL, e enum('a','b') NOT NULL, n enum('0','x'), m enum('with','','empty'), s set('a','b') NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
