CREATE TABLE definition (DefNum bigint(20) NOT NULL AUTO_INCREMENT, ItemName varchar(255) NOT NULL, PRIMARY KEY (DefNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO definition VALUES (1, 'Exam'), (2, 'Cleaning');
