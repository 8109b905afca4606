CREATE TABLE key_unsigned (k bigint unsigned NOT NULL, v int, PRIMARY KEY (k)) ENGINE=InnoDB;
CREATE TABLE key_binary (k varbinary(20) NOT NULL, v int, PRIMARY KEY (k)) ENGINE=InnoDB;
CREATE TABLE key_case (k varchar(20) CHARACTER SET utf8 COLLATE utf8_bin NOT NULL, v int, PRIMARY KEY (k)) ENGINE=InnoDB;
CREATE TABLE key_decimal (k decimal(20,5) NOT NULL, v int, PRIMARY KEY (k)) ENGINE=InnoDB;
CREATE TABLE key_enum (k enum('z','a') NOT NULL, v int, PRIMARY KEY (k)) ENGINE=InnoDB;
CREATE TABLE key_time (k time(6) NOT NULL, t timestamp(6) NOT NULL DEFAULT '2000-01-01 00:00:00', PRIMARY KEY (k, t)) ENGINE=InnoDB;
CREATE TABLE key_second (a varchar(10) NOT NULL, b int NOT NULL AUTO_INCREMENT, PRIMARY KEY (a, b)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
