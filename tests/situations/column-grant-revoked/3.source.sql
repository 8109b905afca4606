GRANT SELECT (Balance) ON test_opendental.account TO by_column@'%';
