CREATE TABLE mood (Id int PRIMARY KEY, F enum('ok','🦷') CHARACTER SET utf8mb4) ENGINE=InnoDB;
INSERT INTO mood VALUES (1, '🦷'), (2, 'ok'), (3, NULL);
CREATE TABLE moods (Id int PRIMARY KEY, F enum('😀','😡') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, G set('😀','?') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, KEY (F)) ENGINE=InnoDB;
INSERT INTO moods VALUES (1, '😀', '😀,?'), (2, '😡', '');
