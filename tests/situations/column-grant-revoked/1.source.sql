CREATE TABLE account (Id int PRIMARY KEY, N varchar(20), Balance decimal(9,2), Secret varchar(20)) ENGINE=InnoDB;
INSERT INTO account VALUES (1, 'A', 10, 's'), (2, 'B', 20, 's');
CREATE OR REPLACE USER by_column@'%' IDENTIFIED BY 'only-some';
GRANT SELECT (Id, N, Balance) ON test_opendental.account TO by_column@'%';
