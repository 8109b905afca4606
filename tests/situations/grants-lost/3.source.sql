REVOKE SELECT ON test_opendental.chair FROM narrow@'%';
GRANT USAGE ON test_opendental.* TO narrow@'%';
CREATE TABLE nothing (Id int) ENGINE=InnoDB;
GRANT INSERT ON test_opendental.nothing TO narrow@'%';
DROP TABLE nothing;
