UPDATE copied SET B = CONCAT('edited ', LEFT(B, 200)) WHERE Id % 2 = 0;
