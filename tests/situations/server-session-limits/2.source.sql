SET SESSION sql_big_selects = 1, max_statement_time = 0;
UPDATE account SET A = 0 WHERE Id = 19999;
UPDATE entry SET A = 0 WHERE Id = 19999;
