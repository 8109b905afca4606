CREATE TABLE task (TaskNum bigint NOT NULL, v int, PRIMARY KEY (TaskNum)) ENGINE=MyISAM;
