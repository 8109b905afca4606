INSERT INTO answers VALUES (1, 'да', 'а,б', ''), (2, '?', '', 'α'), (3, NULL, NULL, NULL);
INSERT IGNORE INTO answers VALUES (4, 'не знаю', 'а', 'α');
