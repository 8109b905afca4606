CREATE TABLE label (N varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci PRIMARY KEY, V int) ENGINE=InnoDB;
INSERT INTO label VALUES ('🙂', 1), ('🦷', 2), ('Strase', 3), ('Straße', 4);
CREATE TABLE code (Id int PRIMARY KEY, C varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_as_ci NOT NULL, UNIQUE KEY (C)) ENGINE=InnoDB;
INSERT INTO code VALUES (1, 'a'), (2, 'a '), (3, 'e'), (4, 'é');
CREATE TABLE plainly (Id int PRIMARY KEY, N varchar(20), KEY (N)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci;
INSERT INTO plainly VALUES (1, 'Müller');
