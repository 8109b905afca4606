UPDATE seat SET C = 'c' WHERE Id = 2;
