SET GLOBAL wait_timeout = 3;
