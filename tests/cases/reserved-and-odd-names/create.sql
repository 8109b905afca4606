CREATE TABLE `select` (`order` bigint NOT NULL, `from where` int, `per%cent` int, `back``tick` int, `dou"ble` int, `größe` int, `Row` varchar(5), PRIMARY KEY (`order`), KEY `group` (`from where`)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
CREATE TABLE `a table that has a name of sixty four characters, all of them he` (n int NOT NULL, PRIMARY KEY (n)) ENGINE=MyISAM;
