INSERT INTO texts VALUES (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO texts VALUES (2, '', '', '', '', '', '', '', '', '');
INSERT INTO texts VALUES (3, '', 'x', REPEAT('é', 255), '', REPEAT('☺', 255), REPEAT('z', 255), REPEAT('€', 21845), REPEAT('m"', 100000), REPEAT('l,\n', 300000));
INSERT INTO texts VALUES (4, '', ' ', '  ahead', '', 'behind  ', 'a line\nand another', '\t', '\\', 'typical');
