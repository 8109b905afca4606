INSERT INTO note VALUES (1, 'NULL', 'NULL'), (2, NULL, ''), (3, '', '\\N'), (4, 'C:\\new\\table', 'ends in \\'), (5, 'a","b', '"'), (6, '",\n', ',');
INSERT INTO note VALUES (7, 'cr\r\nlf', '\t'), (8, 'trailing   ', ' leading'), (9, '''quoted''', '\\"'), (10, '""', '\\\\'), (11, '☺ ❤ Ω é', '%s %d %%');
