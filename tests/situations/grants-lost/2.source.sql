REVOKE SELECT ON test_opendental.lamp FROM narrow@'%';
REVOKE SELECT ON test_opendental.lamps FROM narrow@'%';
