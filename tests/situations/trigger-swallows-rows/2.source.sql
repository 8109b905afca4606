UPDATE visit SET V = 'y' WHERE Id <= 6;
