SET timestamp = UNIX_TIMESTAMP() - 5 * 3600;
UPDATE rate SET N = 'seen late' WHERE Id % 1000 = 0;
SET timestamp = DEFAULT;
SET time_zone = '-12:00';
UPDATE local_time SET N = 'far in the west' WHERE Id % 1000 = 0;
SET time_zone = '+13:00';
UPDATE local_time SET N = 'far in the east' WHERE Id % 1000 = 1;
