CREATE TABLE ints (Num bigint NOT NULL, t tinyint, tu tinyint unsigned, b tinyint(1), s smallint, su smallint unsigned, m mediumint, mu mediumint unsigned, i int, iu int unsigned, l bigint, lu bigint unsigned, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO ints VALUES (1, -128, 0, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0);
INSERT INTO ints VALUES (2, 127, 255, 5, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615);
INSERT INTO ints VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
