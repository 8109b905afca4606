CREATE TABLE bits (Num int NOT NULL, b1 bit(1), b7 bit(7), b8 bit(8), b9 bit(9), b16 bit(16), b31 bit(31), b32 bit(32), b33 bit(33), b63 bit(63), b64 bit(64), PRIMARY KEY (Num)) ENGINE=MyISAM;
