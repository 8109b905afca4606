REVOKE SELECT (Balance) ON test_opendental.account FROM by_column@'%';
