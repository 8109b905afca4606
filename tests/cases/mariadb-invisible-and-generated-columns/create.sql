CREATE TABLE derived (Num bigint NOT NULL, a int, doubled int AS (a * 2) STORED, tripled int AS (a * 3) VIRTUAL, hidden varchar(5) INVISIBLE DEFAULT 'h', PRIMARY KEY (Num)) ENGINE=InnoDB;
