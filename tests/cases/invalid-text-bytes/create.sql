CREATE TABLE odd (Num int NOT NULL, u varchar(20) CHARACTER SET utf8, m mediumtext CHARACTER SET utf8mb4, c varchar(20) CHARACTER SET cp1251, a varchar(20) CHARACTER SET ascii, plain varchar(20) CHARACTER SET utf8, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE odd_in_parts (Num int NOT NULL, u varchar(20) CHARACTER SET utf8, plain varchar(20) CHARACTER SET utf8, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE odd_on_request (Num int NOT NULL, u varchar(20) CHARACTER SET utf8, k char(5) CHARACTER SET cp1251, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE two_codes (Num int NOT NULL, c varchar(20) CHARACTER SET cp932, PRIMARY KEY (Num)) ENGINE=MyISAM;
