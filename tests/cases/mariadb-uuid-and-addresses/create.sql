CREATE TABLE addresses (Num int NOT NULL, u uuid, i4 inet4, i6 inet6, PRIMARY KEY (Num)) ENGINE=InnoDB;
