CREATE TABLE sms (Num bigint NOT NULL, T varchar(50) CHARACTER SET utf8mb4, L varchar(50) CHARACTER SET latin1, PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8mb4;
INSERT INTO sms VALUES (1, '😀🦷', 'café'), (2, '漢字', 'Müller');
