SET SESSION group_concat_max_len = 1000000;
SELECT CONCAT('CREATE TABLE quest (Id int PRIMARY KEY, ', GROUP_CONCAT(CONCAT('q', seq, ' int') ORDER BY seq SEPARATOR ', '), ') ENGINE=InnoDB') INTO @d FROM seq_1_to_900;
PREPARE s FROM @d;
EXECUTE s;
INSERT INTO quest (Id, q1) VALUES (1, 1);
