SET SESSION group_concat_max_len = 1000000;
SELECT CONCAT('ALTER TABLE quest ', GROUP_CONCAT(CONCAT('CHANGE q', seq, ' a', seq, ' int') ORDER BY seq SEPARATOR ', ')) INTO @d FROM seq_1_to_900;
PREPARE s FROM @d;
EXECUTE s;
