INSERT IGNORE INTO lenient VALUES (1, 'no such label', 'none', 'with', 'a,none'), (2, 'b', '0', '', ''), (3, '', NULL, NULL, 'a,b'), (4, 'a', 'x', 'empty', 'b');
