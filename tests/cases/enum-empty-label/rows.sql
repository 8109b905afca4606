INSERT INTO labels VALUES (1, '', '', '', '', 'a'), (2, 'a', 'a', '', 'a,b', 'x'), (3, '', 'a', '', 'it''s', '''');
INSERT IGNORE INTO labels VALUES (4, 'a', 'a', '', 'a,b', 'no such label');
