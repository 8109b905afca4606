CREATE TABLE chair (Id int PRIMARY KEY, V varchar(9)) ENGINE=InnoDB;
INSERT INTO chair VALUES (1, 'a');
CREATE TABLE lamp LIKE chair;
CREATE TABLE lamps LIKE chair;
CREATE OR REPLACE USER narrow@'%' IDENTIFIED BY 'only-some';
GRANT SELECT ON test_opendental.chair TO narrow@'%';
GRANT SELECT ON test_opendental.lamp TO narrow@'%';
GRANT SELECT ON test_opendental.lamps TO narrow@'%';
