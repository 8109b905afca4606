UPDATE VisitType SET T = 'c' WHERE Id = 1;
