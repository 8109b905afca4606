UPDATE indexed SET B = 'edited' WHERE Id % 2 = 0;
