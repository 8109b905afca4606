CREATE TABLE shift (Id int PRIMARY KEY, T time NOT NULL, Begun datetime AS (CAST(T AS datetime)) VIRTUAL, Salted varbinary(40) AS (ENCRYPT(T)) VIRTUAL) ENGINE=MyISAM;
INSERT INTO shift (Id, T) VALUES (1, '10:11:12'), (2, '00:00:00');
CREATE TABLE hours (Id int PRIMARY KEY, T time NOT NULL, H int AS (HOUR(T)) VIRTUAL, Later time AS (ADDTIME(T, '01:00:00')) VIRTUAL) ENGINE=MyISAM;
INSERT INTO hours (Id, T) VALUES (1, '10:11:12'), (2, '00:00:00');
