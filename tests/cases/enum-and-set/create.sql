CREATE TABLE choice (Num bigint NOT NULL, e enum('Yes','no','it''s, "odd"') CHARACTER SET utf8, s set('a','b','c') CHARACTER SET utf8, c char(5) CHARACTER SET utf8, PRIMARY KEY (Num)) ENGINE=MyISAM;
