CREATE TABLE answers (Num int NOT NULL, e enum('да','нет','?') CHARACTER SET cp1251, s set('а','б') CHARACTER SET koi8r, g enum('α','') CHARACTER SET greek, PRIMARY KEY (Num)) ENGINE=MyISAM;
