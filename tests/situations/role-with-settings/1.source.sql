CREATE TABLE copied (Id int PRIMARY KEY, B varchar(300) NOT NULL, F double, T time, D date, At timestamp NULL, M decimal(12,3)) ENGINE=InnoDB CHARSET=latin1;
INSERT INTO copied SELECT seq, REPEAT('x', 250), seq / 7, SEC_TO_TIME(seq), '2026-01-02', '2026-01-02 03:04:05', seq / 7 FROM seq_1_to_20000;
CREATE TABLE `back\` (Id int PRIMARY KEY, `text` int) ENGINE=InnoDB;
INSERT INTO `back\` VALUES (1, 1);
CREATE TABLE `it's\\` (Id int PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO `it's\\` VALUES (1);
CREATE TABLE `x\'; DROP SCHEMA raw CASCADE; --` (Id int PRIMARY KEY, `time` int) ENGINE=InnoDB;
INSERT INTO `x\'; DROP SCHEMA raw CASCADE; --` VALUES (1, 1);
