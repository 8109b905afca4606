CREATE TABLE coded (Code varchar(300) NOT NULL, v int, PRIMARY KEY (Code(20)), KEY long_one (Code(150))) ENGINE=MyISAM DEFAULT CHARSET=latin1;
