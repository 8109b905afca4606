UPDATE keyed SET V = 'y' WHERE Id = 5;
DELETE FROM keyed WHERE Id = 6;
DELETE FROM by_text WHERE Id = '7';
