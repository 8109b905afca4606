DROP TABLE somebodys;
