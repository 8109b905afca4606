INSERT INTO odd VALUES (1, UNHEX('41EDA08042'), UNHEX('EDA0BDEDB880'), UNHEX('419842'), UNHEX('41FF'), 'as it is');
INSERT INTO odd VALUES (2, '=', '!', 'Зубы', '=!', '41=A'), (3, '', '', '', '', ''), (4, NULL, NULL, NULL, NULL, NULL), (5, 'ß☺', '😀', 'ё', 'a', UNHEX('4100'));
INSERT INTO odd_in_parts VALUES (1, 'a', 'b'), (2, 'c', 'd'), (3, UNHEX('EDA080'), 'e'), (4, 'f', 'g'), (5, UNHEX('EDBFBF'), 'h'), (6, NULL, NULL);
INSERT INTO odd_on_request VALUES (1, UNHEX('41EDA08042'), UNHEX('419842')), (2, 'plain', 'ё');
INSERT INTO two_codes VALUES (1, UNHEX('8790')), (2, UNHEX('FA5C')), (3, 'plain?');
