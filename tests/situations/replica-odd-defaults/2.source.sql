UPDATE keyed SET V = 'c' WHERE K = 'a';
UPDATE bounded SET M = -999999.99 WHERE Id = 3;
