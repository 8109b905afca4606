SET GLOBAL init_connect = 'SET sql_select_limit = 2, sql_safe_updates = 1, time_zone = "+05:00", completion_type = 1';
SET GLOBAL max_join_size = 100;
SET GLOBAL max_statement_time = 0.001;
CREATE TABLE account (Id int PRIMARY KEY, A decimal(9,2), At timestamp NOT NULL DEFAULT '2026-01-02 03:04:05') ENGINE=InnoDB;
INSERT INTO account (Id, A) SELECT seq, seq / 100 FROM seq_1_to_20000;
CREATE TABLE entry (Id int PRIMARY KEY, A decimal(9,2)) ENGINE=MyISAM;
INSERT INTO entry SELECT seq, seq / 100 FROM seq_1_to_20000;
