SET GLOBAL lc_time_names = 'de_DE';
SET GLOBAL default_week_format = 3;
UPDATE diary SET D = '2024-01-08' WHERE Id = 1;
