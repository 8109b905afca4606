GRANT SELECT ON test_opendental.* TO narrow@'%';
