INSERT INTO bak_20200424 VALUES (1, 'twice'), (1, 'twice'), (2, NULL), (0, '');
