SET GLOBAL wait_timeout = 1;
