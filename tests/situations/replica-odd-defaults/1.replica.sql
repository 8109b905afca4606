SET GLOBAL innodb_default_row_format = compact;
SET GLOBAL character_set_filesystem = ucs2;
